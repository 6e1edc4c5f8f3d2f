"""A contributor of secure aggregation, phase by phase: what it computes, keeps and refuses.

A ``Participant`` serves one sum. Its keys and its self-mask are new, because the others reveal
them afterwards. Each method takes a message of the collector and returns the answer to it.
Source: Bonawitz et al. 2017, figure 4, the user's side.
"""

from typing import NoReturn

import numpy as np

from refimpl.aggregation.secure_aggregation_terms import (
    KEYS_BYTES,
    SEALED_BYTES,
    SECRET_LIMBS,
    SEED_LIMBS,
    Bytes,
    Credentials,
    ForgedMessage,
    Positions,
    Terms,
    UnmaskingRefused,
    check_bytes,
    malformed,
    pack_elements,
    pair,
    read_elements,
    read_rows,
    read_set,
    sign,
    sorted_positions,
)
from refimpl.arithmetic import ring
from refimpl.smc import key_agreement, masks, shamir
from refimpl.smc.key_agreement import PUBLIC_BYTES, Purpose


class Participant:
    """One contributor in one sum; it never reveals both secrets of anybody.

    ``peers``: the neighbours that advertised keys (the paper's U1 without oneself). ``members``:
    those of them whose shares arrived (U2). ``survivors``: those of them that sent a masked
    vector (U3), fixed by the first call of ``accept``.
    """

    def __init__(self, name: str, terms: Terms, credentials: Credentials) -> None:
        self.name, self.terms, self.credentials = name, terms, credentials
        self.me = terms.contributors.index(name)
        self.channel_keys = key_agreement.generate(credentials.rng)
        self.mask_keys = key_agreement.generate(credentials.rng)
        self.seed = credentials.rng.bytes(masks.SEED_BYTES)
        self.survivors: Positions = np.empty(0, np.int64)
        self.accepted = False
        self._done: set[str] = set()

    def advertise(self) -> bytes:
        """Both public keys and, against an active adversary, the signature of them."""
        keys = self.channel_keys.public + self.mask_keys.public
        if not self.terms.active:
            return keys
        return keys + sign(self.credentials, self.terms.statement(self.name, keys), "key advert")

    def share(self, roster: object) -> Bytes:
        """The peers' sealed shares of both secrets, a row each: uint8, (peers, SEALED_BYTES).

        ``roster``: the peers' positions and their adverts. Own share and peers' are rows of one
        Shamir sharing, x = 1, 2, … in the order of positions. A second roster is a
        ``ValueError``: what is sealed twice under one key can be read.
        """
        self._once("share its secrets")
        self._read_roster(roster)
        holders = sorted_positions([self.me, *self.peers])
        self._check_enough(holders, "holders of shares")
        limbs = [key_agreement.to_limbs(secret) for secret in (self.seed, self.mask_keys.private)]
        shares = shamir.share(
            np.concatenate(limbs), len(holders), self.terms.threshold, rng=self.credentials.rng
        )
        self.own_share = shares[holders == self.me]
        # Packed together for speed: the 8 limbs of a row fill whole bytes, 61 of them.
        packed = pack_elements(shares[holders != self.me]).reshape(len(self.peers), -1)
        sealed = [
            key_agreement.seal(self.channels[peer], plaintext.tobytes(), self._reader(peer))
            for peer, plaintext in zip(self.public, packed, strict=True)
        ]
        return np.frombuffer(b"".join(sealed), np.uint8).reshape(-1, SEALED_BYTES)

    def open(self, relayed: object) -> None:
        """Read the shares that the peers sealed for this party: which peers, and a row of each.

        A second call is a ``ValueError``: the masks and the answer are those of the first's peers.
        """
        self._once("open its shares")
        packed, sealed = pair(relayed, self.terms.collector)
        self.members = read_set(packed, self.peers, self.terms.collector)
        self.owners = sorted_positions([self.me, *self.members])
        self._check_enough(self.owners, "parties that shared their secrets")
        rows = read_rows(sealed, (len(self.members), SEALED_BYTES), self.terms.collector)
        self.held = np.empty((len(self.owners), SECRET_LIMBS), np.uint64)
        self.held[self.owners == self.me] = self.own_share
        opened = [
            self._open(peer, row.tobytes())
            for peer, row in zip(self.members.tolist(), rows, strict=True)
        ]
        packed, shape = np.frombuffer(b"".join(opened), np.uint8), (len(opened), SECRET_LIMBS)
        self.held[self.owners != self.me] = read_elements(packed, shape, self.terms.collector)

    def mask(self, words: np.ndarray) -> tuple[int, Bytes]:
        """The length and the packed elements of the masked vector; masks ``words`` in place.

        y = x + PRG(b) + Σ_v ±PRG(s_v) modulo 2^bits, plus for peers before oneself (figure 4,
        round 2). ``words``: the encoded vector, uint32, shape (length,). A second vector is a
        ``ValueError``: under the same masks it would give away its difference from the first.
        """
        self._once("mask one vector")
        signed: list[tuple[bytes, masks.Sign]] = [(self.seed, 1)]
        for peer in self.members.tolist():
            signed.append((self._agree(peer, "mask"), 1 if self.me > peer else -1))
        masks.add_each(words, signed)
        words &= np.uint32(2**self.terms.bits - 1)
        return len(words), ring.pack(words, self.terms.bits)

    def accept(self, survivors: object) -> bytes | None:
        """Fix who is in the sum; returns the signature of it against an active adversary.

        Raises ``UnmaskingRefused`` for fewer than ``Terms.fewest`` survivors, and for another set
        than one accepted before: shares for both would reveal both secrets of those who differ.
        """
        alive = read_set(survivors, self.members, self.terms.collector)
        if len(alive) + 1 < self.terms.fewest:
            self._refuse(f"at least {self.terms.fewest} survivors are needed, got {len(alive) + 1}")
        if self.accepted and not np.array_equal(alive, self.survivors):
            self._refuse("the survivors must stay those accepted before, got another set")
        self.survivors, self.accepted = alive, True
        if not self.terms.active:
            return None
        return sign(self.credentials, self._agreed(), "survivor set")

    def reveal(self, endorsements: object = None) -> tuple[Bytes, Bytes]:
        """The shares of the survivors' self-mask seeds, and of the dropped peers' mask keys.

        ``endorsements``, against an active adversary: which survivors signed the same set, and
        their signatures. Raises ``UnmaskingRefused`` if with oneself they are fewer than
        ``threshold``, or before ``accept``.
        """
        if not self.accepted:
            self._refuse("the survivors must be accepted first")
        if self.terms.active:
            self._check_endorsements(endorsements)
        alive = np.isin(self.owners, [self.me, *self.survivors])
        seeds, keys = self.held[alive, :SEED_LIMBS], self.held[~alive, SEED_LIMBS:]
        return pack_elements(seeds), pack_elements(keys)

    def _read_roster(self, roster: object) -> None:
        sender, count = self.terms.collector, len(self.terms.contributors)
        packed, adverts = pair(roster, sender)
        self.adverts = read_rows(adverts, (None, self.terms.advert_bytes), sender)
        try:
            bits = self.terms.positions_bits()
            peers = ring.unpack(check_bytes(packed), bits, len(self.adverts))
        except ValueError as error:
            raise malformed(sender, "the positions of its roster", error) from error
        self.peers = peers.astype(np.int64)
        ordered = bool(np.all(np.diff(self.peers) > 0)) and self.peers.max(initial=0) < count
        if not ordered or self.me in self.peers:
            wrong = ValueError(f"got {self.peers.tolist()}")
            raise malformed(sender, "positions of other contributors, in order", wrong)
        self.public = {
            peer: (row[:PUBLIC_BYTES].tobytes(), row[PUBLIC_BYTES:KEYS_BYTES].tobytes())
            for peer, row in zip(self.peers.tolist(), self.adverts, strict=True)
        }
        self._check_adverts()
        self.channels = {peer: self._agree(peer, "channel") for peer in self.public}

    def _check_adverts(self) -> None:
        """All keys differ, none is one's own, and each is signed by its owner."""
        own = self.channel_keys.public, self.mask_keys.public
        keys = [key for pair_of_keys in (own, *self.public.values()) for key in pair_of_keys]
        if len(set(keys)) != len(keys):
            wrong = ValueError("a key is there twice")
            raise malformed(self.terms.collector, "adverts of different keys", wrong)
        if self.terms.active:
            for (peer, public), row in zip(self.public.items(), self.adverts, strict=True):
                name, signature = self.terms.contributors[peer], row[KEYS_BYTES:].tobytes()
                statement = self.terms.statement(name, b"".join(public))
                self._verify(name, signature, statement, "key advert")

    def _agree(self, peer: int, purpose: Purpose) -> bytes:
        """The key shared with ``peer`` for one purpose."""
        own, which = (self.channel_keys, 0) if purpose == "channel" else (self.mask_keys, 1)
        name = self.terms.contributors[peer]
        try:
            return self.terms.key(own, self.public[peer][which], (self.name, name), purpose)
        except ValueError as error:
            raise malformed(name, "a public key", error) from error

    def _open(self, peer: int, sealed: bytes) -> bytes:
        """The packed share of both secrets of ``peer``."""
        try:
            return key_agreement.open_sealed(self.channels[peer], sealed, self._reader(self.me))
        except ValueError as error:
            name = self.terms.contributors[peer]
            raise malformed(name, "a share sealed for its reader", error) from error

    def _reader(self, receiver: int) -> bytes:
        """Which of the two messages under a channel's key it is: the one for ``receiver``."""
        return f"shares for {self.terms.contributors[receiver]}".encode()

    def _agreed(self) -> bytes:
        """What the survivors sign: the set, and the keys of everybody who advertised some."""
        public = {**self.public, self.me: (self.channel_keys.public, self.mask_keys.public)}
        roster = [b"%d " % peer + b"".join(keys) for peer, keys in sorted(public.items())]
        names = [self.terms.contributors[p] for p in sorted([self.me, *self.survivors])]
        return self.terms.statement(str(len(names)), *names, *roster)

    def _check_endorsements(self, endorsements: object) -> None:
        packed, signatures = pair(endorsements, self.terms.collector)
        who = read_set(packed, self.survivors, self.terms.collector)
        size = key_agreement.SIGNATURE_BYTES
        rows = read_rows(signatures, (len(who), size), self.terms.collector)
        if len(who) + 1 < self.terms.threshold:
            self._refuse(
                f"at least threshold={self.terms.threshold} parties must sign the survivors, "
                f"got {len(who) + 1}"
            )
        agreed = self._agreed()
        for peer, row in zip(who, rows, strict=True):
            name = self.terms.contributors[peer]
            self._verify(name, row.tobytes(), agreed, "survivor set")

    def _verify(self, name: str, signature: bytes, statement: bytes, what: str) -> None:
        """Raise ``ForgedMessage`` unless ``name``, as the directory knows it, signed."""
        try:
            public = self.credentials.directory[name]
            key_agreement.verify(public, signature, statement, purpose=what)
        except (ValueError, KeyError) as error:
            raise ForgedMessage(
                f"the {what} that {self.terms.collector!r} showed {self.name!r} was not signed by "
                f"{name!r}: one of the two lies",
                [name, self.terms.collector],
            ) from error

    def _check_enough(self, parties: Positions, what: str) -> None:
        if len(parties) < self.terms.threshold:
            rule = f"at least threshold={self.terms.threshold} {what}"
            raise malformed(self.terms.collector, rule, ValueError(f"got {len(parties)}"))

    def _once(self, what: str) -> None:
        if what in self._done:
            raise ValueError(f"{self.name!r} must {what} once only: make a new Participant")
        self._done.add(what)

    def _refuse(self, why: str) -> NoReturn:
        raise UnmaskingRefused(
            f"{self.name!r} reveals no shares to {self.terms.collector!r}: {why}",
            [self.terms.collector],
        )
