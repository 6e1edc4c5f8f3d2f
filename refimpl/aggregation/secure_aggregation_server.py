"""The collector of secure aggregation, phase by phase: it relays, adds and takes the masks off.

It holds one sum of masked vectors, never the vectors side by side.
Source: Bonawitz et al. 2017, figure 4, the server's side.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from refimpl.aggregation.secure_aggregation_terms import (
    KEY_LIMBS,
    SEALED_BYTES,
    SEED_LIMBS,
    Bytes,
    Elements,
    Positions,
    Terms,
    check_bytes,
    malformed,
    pack_set,
    pair,
    read_elements,
    read_rows,
    sorted_positions,
)
from refimpl.arithmetic import ring
from refimpl.network import MalformedMessage, MissingMessage
from refimpl.smc import key_agreement, masks, shamir
from refimpl.smc.decoding import InconsistentShares
from refimpl.smc.key_agreement import PUBLIC_BYTES

By = dict[int, Positions]  # of each party, some others


class Collector:
    """The collector's side of one sum.

    ``graph``: the neighbours of each position. ``peers``: those that advertised keys. ``members``:
    those whose shares a party was sent. Survivors are the keys of ``lengths``.
    """

    def __init__(self, terms: Terms, graph: Sequence[Positions]) -> None:
        self.terms, self.graph = terms, graph
        self.lengths: dict[int, int] = {}
        self.total = np.empty(0, np.uint32)

    @property
    def survivors(self) -> Positions:
        """The positions of those whose masked vectors are in the sum."""
        return sorted_positions(self.lengths)

    def rosters(self, adverts: Mapping[str, bytes]) -> dict[str, tuple[Bytes, Bytes]]:
        """To each that advertised keys, the positions and adverts of its neighbours that did."""
        rows = np.zeros((len(self.terms.contributors), self.terms.advert_bytes), np.uint8)
        for name, advert in adverts.items():
            if not isinstance(advert, bytes) or len(advert) != self.terms.advert_bytes:
                wrong = ValueError(f"got {type(advert).__name__}")
                raise malformed(name, f"{self.terms.advert_bytes} bytes of keys", wrong)
            rows[self._position(name)] = np.frombuffer(advert, np.uint8)
        self.adverts = rows
        there = self._positions(adverts)
        self.peers: By = {
            int(party): self.graph[party][np.isin(self.graph[party], there)] for party in there
        }
        bits = self.terms.positions_bits()
        return {
            self._name(party): (ring.pack(peers, bits), rows[peers])
            for party, peers in self.peers.items()
        }

    def relay(self, shares: Mapping[str, Bytes]) -> dict[str, tuple[Bytes, Bytes]]:
        """To each that sent shares, those that its peers sealed for it."""
        rows = {
            party: read_rows(row, (len(self.peers[party]), SEALED_BYTES), name)
            for name, row in shares.items()
            for party in [self._position(name)]
        }
        arrived = _by_target({party: self.peers[party] for party in rows}, rows)
        nobody = np.empty(0, np.int64), np.empty((0, SEALED_BYTES), np.uint8)
        messages = {}
        self.members: By = {}
        for party in rows:
            self.members[party], sealed = arrived.get(party, nobody)
            marked = pack_set(self.members[party], self.peers[party])
            messages[self._name(party)] = marked, sealed
        return messages

    def add(self, name: str, masked: object) -> None:
        """Add one masked vector to the sum. All must be of the first one's length."""
        length, packed = pair(masked, name)
        try:
            words = ring.unpack(check_bytes(packed), self.terms.bits, length)
        except ValueError as error:
            raise malformed(name, "its masked vector and the length of it", error) from error
        if not self.lengths:
            self.total = np.zeros(length, np.uint32)
        elif length != len(self.total):
            first = self._name(next(iter(self.lengths)))
            raise MalformedMessage(
                f"masked vectors must be of one length: {first!r} sent {len(self.total)} "
                f"elements, {name!r} sent {length}",
                [first, name],
            )
        self.total += words.astype(np.uint32)
        self.lengths[self._position(name)] = length

    def announce(self) -> dict[str, Bytes]:
        """To each survivor, which of its members survived."""
        return {
            self._name(party): pack_set(self.survivors, self.members[party])
            for party in self.survivors
        }

    def endorse(self, signatures: Mapping[str, bytes]) -> dict[str, tuple[Bytes, Bytes]]:
        """To each that signed the survivors, which of the other survivors did, and how."""
        size = key_agreement.SIGNATURE_BYTES
        for name, signature in signatures.items():
            if not isinstance(signature, bytes) or len(signature) != size:
                raise malformed(name, f"a signature of {size} bytes", ValueError("got another"))
        rows = {self._position(n): np.frombuffer(s, np.uint8) for n, s in signatures.items()}
        survivors, messages = self.survivors, {}
        for party in sorted(rows):
            members = self.members[party]
            peers = members[np.isin(members, survivors)]
            who = [int(peer) for peer in peers if int(peer) in rows]
            signed = np.array([rows[peer] for peer in who], np.uint8).reshape(-1, size)
            messages[self._name(party)] = pack_set(sorted_positions(who), peers), signed
        return messages

    def unmask(self, answers: Mapping[str, tuple[Bytes, Bytes]]) -> np.ndarray:
        """The float64 sum of the survivors' vectors, all masks taken off."""
        survivors = self.survivors
        seeds, keys = self._shares(answers)
        own = self._secrets(seeds, survivors, masks.SEED_BYTES).values()
        masks.add_each(self.total, [(seed, -1) for seed in own])
        dropped = [p for p in self.members if p not in self.lengths]
        masked_with = {p: self.peers[p][np.isin(self.peers[p], survivors)] for p in dropped}
        lost = sorted_positions(p for p in dropped if len(masked_with[p]))
        for party, private in self._secrets(keys, lost, key_agreement.PRIVATE_BYTES).items():
            self._remove(party, private, masked_with[party])
        self.total &= np.uint32(2**self.terms.bits - 1)
        try:
            return self.terms.encoding.decode(self.total, summands=len(survivors))
        except ValueError as error:
            names = [self._name(party) for party in survivors]
            raise MalformedMessage(f"the sum of {names} is out of range: {error}", names) from error

    def _remove(self, party: int, private: bytes, survivors: Positions) -> None:
        """Take off the masks that ``survivors`` share with ``party``, who dropped out."""
        name, pair_of_keys = self._name(party), key_agreement.pair_of(private)
        if pair_of_keys.public != self._mask_key(party):
            raise MalformedMessage(
                f"the shares of {name!r} must give the private half of the key it advertised, "
                "they give another",
                [name],
            )
        for peer in survivors:
            names = (name, self._name(peer))
            seed = self.terms.key(pair_of_keys, self._mask_key(peer), names, "mask")
            masks.add(self.total, seed, sign=-1 if peer > party else 1)

    def _shares(self, answers: Mapping[str, tuple[Bytes, Bytes]]) -> tuple["Held", "Held"]:
        """Who revealed a share of whose seed, and of whose key; by owner."""
        targets: tuple[By, By] = {}, {}
        rows: tuple[dict[int, Elements], dict[int, Elements]] = {}, {}
        for name, answer in answers.items():
            party, packed = self._position(name), pair(answer, name)
            owners = sorted_positions([party, *self.members[party]])
            alive = np.isin(owners, self.survivors)
            for kind, (which, limbs) in enumerate([(alive, SEED_LIMBS), (~alive, KEY_LIMBS)]):
                targets[kind][party] = owners[which]
                shape = int(which.sum()), limbs
                rows[kind][party] = read_elements(packed[kind], shape, name)
        return _by_target(targets[0], rows[0]), _by_target(targets[1], rows[1])

    def _secrets(self, shares: "Held", owners: Positions, length: int) -> dict[int, bytes]:
        """The secret of each owner; those with the same x are reconstructed together."""
        together: dict[tuple[int, ...], list[int]] = {}
        for owner in map(int, owners):
            xs = self._xs(owner, shares[owner][0] if owner in shares else np.empty(0, np.int64))
            together.setdefault(xs, []).append(owner)
        secrets: dict[int, bytes] = {}
        for xs, group in together.items():
            table = np.stack([shares[owner][1] for owner in group], axis=1)
            try:
                secrets.update(zip(group, self._rebuilt(xs, table, length), strict=True))
            except ValueError:
                for column, owner in enumerate(group):  # whose secret is it?
                    try:
                        self._rebuilt(xs, table[:, column : column + 1], length)
                    except ValueError as error:
                        raise self._disagreement(owner, error) from error
                raise
        return secrets

    def _rebuilt(self, xs: tuple[int, ...], table: Elements, length: int) -> list[bytes]:
        """The secrets of ``length`` bytes; ``table``: shares of shape (x, owners, limbs)."""
        limbs = shamir.reconstruct(zip(xs, table, strict=True), self.terms.threshold)
        return [key_agreement.from_limbs(row, length) for row in limbs]

    def _xs(self, owner: int, holders: Positions) -> tuple[int, ...]:
        """The x of the shares of ``owner`` that ``holders`` revealed, if they are enough."""
        everybody = self._holders(owner)
        if len(holders) < self.terms.threshold:
            missing = [self._name(p) for p in everybody if p not in holders]
            raise MissingMessage(
                f"the mask of {self._name(owner)!r} needs threshold={self.terms.threshold} "
                f"shares, {len(holders)} of {len(everybody)} holders answered. Missing: {missing}",
                missing,
            )
        return tuple((np.searchsorted(everybody, holders) + 1).tolist())

    def _disagreement(self, owner: int, error: ValueError) -> MalformedMessage:
        """Either the holder of a wrong share lied, or the owner whose secret it is a share of."""
        rows = error.rows if isinstance(error, InconsistentShares) else ()
        liars = [self._name(self._holders(owner)[x - 1]) for x in rows]
        who = f"held by {liars} " if liars else ""
        return MalformedMessage(
            f"the shares {who}of a secret of {self._name(owner)!r} are wrong, or were made wrong "
            f"by it: {error}",
            liars or [self._name(owner)],
        )

    def _holders(self, owner: int) -> Positions:
        """Those with a share of the owner's secrets; the share of the i-th has x = i + 1."""
        return np.sort(np.append(self.peers[owner], owner))

    def _mask_key(self, party: int) -> bytes:
        return self.adverts[party, PUBLIC_BYTES : 2 * PUBLIC_BYTES].tobytes()

    def _name(self, position: int) -> str:
        return self.terms.contributors[position]

    def _position(self, name: str) -> int:
        return self.terms.contributors.index(name)

    def _positions(self, names: Mapping[str, object]) -> Positions:
        return sorted_positions(self._position(name) for name in names)


Held = dict[int, tuple[Positions, np.ndarray]]


def _by_target(targets: By, rows: Mapping[int, np.ndarray]) -> Held:
    """What reached each target: the sources, in order, and a row from each.

    ``rows[source]`` has one row for each of ``targets[source]``.
    """
    sources = sorted(targets)
    if not sources:
        return {}
    where = np.concatenate([targets[source] for source in sources])
    what = np.concatenate([rows[source] for source in sources])
    whence = np.repeat(sources, [len(targets[source]) for source in sources])
    order = np.argsort(where, kind="stable")
    names, starts = np.unique(where[order], return_index=True)
    parts = zip(np.split(whence[order], starts[1:]), np.split(what[order], starts[1:]), strict=True)
    return dict(zip(map(int, names), parts, strict=True)) if len(names) else {}
