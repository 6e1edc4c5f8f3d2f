"""Parties that lie in secure aggregation: contributors and collectors, each with one falsehood."""

from dataclasses import replace
from unittest import mock

import numpy as np

from refimpl.aggregation import secure_aggregation_client as client
from refimpl.aggregation.secure_aggregation_client import Participant
from refimpl.aggregation.secure_aggregation_server import Collector
from refimpl.aggregation.secure_aggregation_terms import (
    KEY_LIMBS,
    SECRET_LIMBS,
    SEED_LIMBS,
    pack_elements,
    pack_set,
    read_elements,
)
from refimpl.arithmetic import field, randomness, ring
from refimpl.smc import key_agreement, masks, shamir

LIAR = VICTIM = "p0002"


class AnotherVector(Participant):
    def mask(self, words):
        words[0] += 1000
        return super().mask(words)


class AnotherSeed(Participant):
    def share(self, roster):
        with mock.patch.object(self, "seed", bytes(16)):
            return super().share(roster)


class AnotherKey(Participant):
    def share(self, roster):
        def other(secret, *rest, right=shamir.share, **options):
            secret = secret.copy()
            secret[SEED_LIMBS] ^= np.uint64(8)
            return right(secret, *rest, **options)

        with mock.patch.object(client.shamir, "share", other):
            return super().share(roster)


class NoSecret(Participant):
    def share(self, roster):
        def random(secret, parties, threshold, rng):
            return rng.below(2**56, (parties, len(secret)))

        with mock.patch.object(client.shamir, "share", random):
            return super().share(roster)


class BadSeal(Participant):
    def share(self, roster):
        sealed = super().share(roster).copy()
        sealed[0, 5] ^= 1
        return sealed


class WrongShare(Participant):
    def reveal(self, endorsements=None):
        seeds, keys = super().reveal(endorsements)
        shape = len(seeds) * 8 // (61 * SEED_LIMBS), SEED_LIMBS
        return pack_elements(randomness.secure().below(2**56, shape)), keys


class ShiftedShare(Participant):
    """Chosen so that, with the shares of all other holders, it makes the first seed larger by 1."""

    def reveal(self, endorsements=None):
        seeds, keys = super().reveal(endorsements)
        table = read_elements(seeds, (len(seeds) * 8 // (61 * SEED_LIMBS), SEED_LIMBS), self.name)
        weights = shamir.coefficients(range(1, len(self.owners) + 1))
        x = int(np.searchsorted(self.owners, self.me))
        table[0, 0] = field.add(table[0, 0], np.uint64(pow(weights[x], -1, field.P)))
        return pack_elements(table), keys


class OldKeys(Participant):
    """With the signature of those days."""

    kept = key_agreement.generate(), key_agreement.generate()

    def __init__(self, *rest):
        super().__init__(*rest)
        self.channel_keys, self.mask_keys = self.kept

    def advertise(self):
        with mock.patch.object(self, "terms", replace(self.terms, round=self.terms.round + 1)):
            return super().advertise()


class BadSignature(Participant):
    def advertise(self):
        return super().advertise()[:-1] + b"?"


class InTheMiddle(Collector):
    """It is everybody to everybody else, and opens and seals the shares anew on the way."""

    def rosters(self, adverts):
        messages = super().rosters(adverts)
        self.false = [(key_agreement.generate(), key_agreement.generate()) for _ in adverts]
        rows = [a.public + b.public + bytes(self.terms.advert_bytes - 64) for a, b in self.false]
        rows = np.array([np.frombuffer(row, np.uint8) for row in rows])
        return {
            name: (packed, rows[self.peers[self._position(name)]])
            for name, (packed, _) in messages.items()
        }

    def relay(self, shares):
        self.stolen, again = {}, {}
        for name, rows in shares.items():
            party = self._position(name)
            peers = self.peers[party]
            readers = [Participant._reader(self, peer) for peer in peers]
            packed = [
                key_agreement.open_sealed(self.key(peer, party, 0), row.tobytes(), reader)
                for peer, row, reader in zip(peers, rows, readers, strict=True)
            ]
            sealed = [
                key_agreement.seal(self.key(party, peer, 0), plaintext, reader)
                for peer, plaintext, reader in zip(peers, packed, readers, strict=True)
            ]
            again[name] = np.frombuffer(b"".join(sealed), np.uint8).reshape(rows.shape)
            table = np.frombuffer(b"".join(packed), np.uint8)
            table = read_elements(table, (len(peers), SECRET_LIMBS), name)
            xs = np.searchsorted(self._holders(party), peers) + 1
            seed = shamir.reconstruct(zip(xs, table, strict=True), self.terms.threshold)
            self.stolen[name] = key_agreement.from_limbs(seed[:SEED_LIMBS], 16)
        return super().relay(again)

    def key(self, false, real, which):
        """The key of ``real`` with the one who passes for ``false``."""
        public = self.adverts[real, 32 * which : 32 * which + 32].tobytes()
        both = self._name(false), self._name(real)
        return self.terms.key(self.false[false][which], public, both, ("channel", "mask")[which])

    def add(self, name, masked):
        super().add(name, masked)
        party, words = self._position(name), unpacked(self, masked)
        masks.add(words, self.stolen[name], sign=-1)
        for peer in self.members[party]:
            masks.add(words, self.key(peer, party, 1), sign=-1 if party > peer else 1)
        self.stolen[name] = words & np.uint32(2**self.terms.bits - 1)

    def unmask(self, answers):
        total = sum(words.astype(np.uint64) for words in self.stolen.values())
        return self.terms.encoding.decode(total, summands=len(self.stolen))


class Split(Collector):
    """It asks half of the victim's peers for shares of its key, the others for its seed's."""

    def add(self, name, masked):
        super().add(name, masked)
        if name == VICTIM:
            self.words = unpacked(self, masked)

    def announce(self):
        self.victim = self._position(VICTIM)
        peers = self.peers[self.victim]
        self.fooled = peers[: (len(peers) + 1) // 2]
        others = self.survivors[self.survivors != self.victim]
        fooled = {self._name(p): pack_set(others, self.members[p]) for p in self.fooled}
        return {**super().announce(), **fooled}

    def endorse(self, signatures):
        """Each is shown the signatures of those that it was told survived."""
        messages = {}
        for name in signatures:
            party = self._position(name)
            told = self.survivors
            if party in self.fooled:
                told = told[told != self.victim]
            among = self.members[party][np.isin(self.members[party], told)]
            rows = [np.frombuffer(signatures[self._name(p)], np.uint8) for p in among]
            messages[name] = pack_set(among, among), np.array(rows)
        return messages

    def unmask(self, answers):
        of_seed, of_key = {}, {}
        for name, (seeds, keys) in answers.items():
            party = self._position(name)
            owners = np.sort([party, *self.members[party]])
            x = int(np.searchsorted(self._holders(self.victim), party)) + 1
            if party in self.fooled:
                of_key[x] = read_elements(keys, (1, KEY_LIMBS), name)[0]
            elif self.victim in owners:
                rows = read_elements(seeds, (len(owners), SEED_LIMBS), name)
                of_seed[x] = rows[np.searchsorted(owners, self.victim)]
        seed, key = (shamir.reconstruct(of, self.terms.threshold) for of in (of_seed, of_key))
        masks.add(self.words, key_agreement.from_limbs(seed, 16), sign=-1)
        own = key_agreement.pair_of(key_agreement.from_limbs(key, 32))
        for peer in self.members[self.victim]:
            secret = self.terms.key(own, self._mask_key(peer), (VICTIM, self._name(peer)), "mask")
            masks.add(self.words, secret, sign=-1 if self.victim > peer else 1)
        self.stolen = {VICTIM: self.words & np.uint32(2**self.terms.bits - 1)}
        return np.zeros(len(self.words))


class OldKeysOfTheAbsent(Collector):
    """``VICTIM`` is not there, but keys that it signed in another round take its place."""

    def rosters(self, adverts):
        old = Participant(VICTIM, replace(self.terms, round=7), self.credentials[VICTIM])
        messages = super().rosters({**adverts, VICTIM: old.advertise()})
        del messages[VICTIM]
        return messages


class FewSurvivors(Collector):
    def announce(self):
        nobody = np.empty(0, np.int64)
        return {
            name: pack_set(nobody, self.members[self._position(name)])
            for name in self.terms.contributors
        }


class ForgedSurvivors(Collector):
    def endorse(self, signatures):
        messages = super().endorse(signatures)
        return {name: (who, np.ones_like(rows)) for name, (who, rows) in messages.items()}


class LeaveTwoOut(Collector):
    def announce(self):
        for name in (LIAR, "p0005"):
            del self.lengths[self._position(name)]
        return super().announce()


class LeaveOut(Collector):
    def add(self, name, masked):
        super().add(name, masked)
        if name == VICTIM:
            self.words = unpacked(self, masked)

    def announce(self):
        del self.lengths[self._position(VICTIM)]
        self.total -= self.words
        return super().announce()


def unpacked(collector, masked):
    """The words of a masked vector."""
    return ring.unpack(masked[1], collector.terms.bits, masked[0]).astype(np.uint32)
