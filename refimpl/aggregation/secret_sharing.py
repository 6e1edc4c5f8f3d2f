"""A sum by secret sharing among the contributors: nobody but them and a collector takes part.

Each contributor splits its vector into shares, one for each contributor, and each adds up the
shares that it got. These partial sums are shares of the sum of all vectors, and the collector puts
it together. The sum is exact in fixed point.

``threshold=None``: additive shares, n of n, all but one of them 16-byte seeds. Topics: "seed for
<collector>" among contributors, "partial sum" to the collector.
``threshold=t``: Shamir's shares, of which any t suffice, so parties may drop out. Topics: "share
for <collector>" among contributors, "received" (whose shares arrived) to the collector, "in the
sum" from it, "partial sum" to it.

Sources: Ben-Or, Goldwasser and Wigderson, STOC 1988 (sums of Shamir's shares); Cramer, Damgård
and Nielsen, Secure Multiparty Computation and Secret Sharing, 2015, chapter 3.
"""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refimpl.aggregation.interface import (
    FEWEST,
    Group,
    check_protected,
    check_vector,
    most_colluders,
)
from refimpl.arithmetic import field, randomness, ring
from refimpl.arithmetic.checks import whole
from refimpl.arithmetic.fixed_point import FixedPoint
from refimpl.arithmetic.randomness import CryptoGenerator
from refimpl.network import Link, MalformedMessage, MissingMessage
from refimpl.smc import additive, shamir
from refimpl.smc.decoding import InconsistentShares

Words = NDArray[np.uint64]


@dataclass(frozen=True)
class SecretSharing:
    """Additive (``threshold=None``) or Shamir sharing among the contributors of a group.

    ``threshold``: how many partial sums give the sum, 2 or more. ``bound``, ``bits``: the
    ``FixedPoint`` of one value; a value over the bound is an error, never clipped.

    Adversary: honest-but-curious. The collector may pool what it sees with up to n-2 of the n
    contributors (additive; then the two others' vectors stay hidden behind their sum), or with up
    to threshold-1 (Shamir). Shares hide as well as AES-CTR, from which they are drawn.
    Leaks: the sum, who is in it, who received whose shares, the length. Sums over overlapping
    groups may be subtracted from each other; so where survivors change from round to round, what
    stays the same, such as FedAvg's weights, is found. More colluders than that see every vector.
    Lies: a false vector, share or seed goes undetected, as does a false partial sum while no more
    than ``threshold`` arrive. With more, the collector detects it, and with threshold + 2e names up
    to e of them; a party that dealt inconsistent shares makes its receivers be named. A collector
    that names different sets to different contributors learns two sums, unless
    2 * threshold > contributors + colluders; a contributor answers one set only, once.
    Cost: additive, n-1 seeds and one vector of sum_bits a value for each contributor; Shamir, n
    vectors of 64 bits a value.
    """

    threshold: int | None = None
    _: KW_ONLY
    bound: float = 16.0
    bits: int = 24

    def __post_init__(self) -> None:
        if self.threshold is not None:
            remedy = "with 1 every share is the value itself; None needs all"
            object.__setattr__(
                self, "threshold", whole("threshold", self.threshold, 2, remedy=remedy)
            )
        FixedPoint(self.bound, self.bits, FEWEST)

    def setup(
        self, parties: Sequence[str], rng: CryptoGenerator | None = None
    ) -> dict[str, CryptoGenerator]:
        """A generator of its own for each party. No keys: links are private and authenticated."""
        rng = randomness.resolve(rng)
        return {name: CryptoGenerator(rng.bytes(16)) for name in parties}

    def encoding(self, group: Group) -> FixedPoint:
        """The encoding of one contributor's value in ``group``."""
        return FixedPoint(self.bound, self.bits, len(group.contributors))

    def withstood(self, group: Group) -> int:
        """How many contributors may pool what they know with the collector."""
        everybody = len(group.contributors)
        return most_colluders(group, (self.threshold or everybody) - 1)

    def check(self, group: Group) -> None:
        """``ValueError`` for fewer than three contributors, or an ``at_least`` out of reach."""
        check_protected(group, self.threshold or 1)
        if self.threshold is None and group.needed < len(group.contributors):
            raise ValueError(
                f"at_least must be None without a threshold, got {group.at_least}: additive "
                f"shares need all contributors; SecretSharing(threshold={group.needed}) does not"
            )
        self.encoding(group)

    async def contribute(
        self,
        link: Link,
        vector: np.ndarray,
        group: Group,
        credentials: CryptoGenerator | None = None,
    ) -> None:
        """A contributor's role: ``vector``, floats in [-bound, bound] of shape (length,).

        Raises ``ValueError`` for a NaN or a value over the bound, before anything is sent, and a
        ``NetworkError`` naming who is missing if fewer than the group needs send their shares.
        """
        self.check(group)
        encoded = self.encoding(group).encode(check_vector(vector, owner=link.name))
        here, rng = link.in_round(group.round), randomness.resolve(credentials)
        if self.threshold is None:
            await _contribute_additive(here, encoded, group, self.encoding(group).sum_bits, rng)
        else:
            await _contribute_shamir(here, encoded, group, self.threshold, rng)

    async def collect(
        self, link: Link, group: Group, credentials: CryptoGenerator | None = None
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """The collector's role: the float64 sum, and the names whose vectors are in it.

        Raises a ``NetworkError`` naming who is missing, how many answered and how many are
        needed; ``MalformedMessage`` for partial sums that do not fit together.
        """
        self.check(group)
        here, encoding = link.in_round(group.round), self.encoding(group)
        if self.threshold is None:
            total, who = await _collect_additive(here, group, encoding.sum_bits)
        else:
            total, who = await _collect_shamir(here, group, self.threshold)
        try:
            return encoding.decode(total, summands=len(who)), who
        except ValueError as error:
            raise MalformedMessage(f"the sum of {list(who)} cannot be: {error}", who) from error


# --- additive: all must answer ----------------------------------------------------------------


async def _contribute_additive(
    link: Link, encoded: Words, group: Group, bits: int, rng: CryptoGenerator
) -> None:
    others, topic = _others(link, group), f"seed for {group.collector}"
    seeds, partial = additive.share_from_seeds(encoded, len(group.contributors), rng=rng)
    for other, seed in zip(others, seeds, strict=True):
        await link.send(other, topic, seed)
    received = await link.gather(others, topic)
    for other, seed in received.items():
        if not isinstance(seed, bytes) or len(seed) != additive.SEED_BYTES:
            raise _malformed(other, f"a seed of {additive.SEED_BYTES} bytes", seed)
    partial += additive.sum_of_seeds(received.values(), partial.shape)
    # 2^bits divides 2^64, so the sum is the same when only the low bits travel.
    packed = ring.pack(ring.reduce(partial, bits), bits)
    await link.send(group.collector, "partial sum", (len(partial), packed))


async def _collect_additive(link: Link, group: Group, bits: int) -> tuple[Words, tuple[str, ...]]:
    received = await link.gather(group.contributors, "partial sum")
    partials = {name: _unpacked(name, payload, bits) for name, payload in received.items()}
    _check_lengths(partials)
    return ring.reduce(additive.reconstruct([*partials.values()]), bits), tuple(partials)


def _unpacked(sender: str, payload: Any, bits: int) -> Words:
    try:
        length, packed = payload
        return ring.unpack(packed, bits, length)
    except (TypeError, ValueError) as error:
        raise _malformed(sender, f"a length and as many elements of {bits} bits", error) from error


# --- Shamir: any ``threshold`` partial sums -----------------------------------------------------


async def _contribute_shamir(
    link: Link, encoded: Words, group: Group, threshold: int, rng: CryptoGenerator
) -> None:
    others, topic = _others(link, group), f"share for {group.collector}"
    rows = shamir.share(encoded, len(group.contributors), threshold, rng=rng)
    points = _points(group)
    for other in others:
        await link.send(other, topic, rows[points[other] - 1])
    own = rows[points[link.name] - 1].copy()
    del rows
    shares = await link.gather(others, topic, at_least=group.needed - 1)
    for other, share in shares.items():
        _check_elements(other, share, len(encoded))
    shares[link.name] = own
    await link.send(group.collector, "received", sorted(shares))
    chosen = await link.receive(group.collector, "in the sum")
    chosen = _check_names(group.collector, chosen, group, least=group.needed)
    if shares.keys() >= set(chosen):  # else the collector goes on without this partial sum
        partial = own if link.name in chosen else np.zeros_like(own)
        for other in chosen:
            if other != link.name:
                field.add(partial, shares[other], out=partial)
        await link.send(group.collector, "partial sum", partial)


async def _collect_shamir(
    link: Link, group: Group, threshold: int
) -> tuple[Words, tuple[str, ...]]:
    lists = await link.gather(group.contributors, "received", at_least=group.needed)
    chosen = set(group.contributors)
    for name, received in lists.items():
        chosen &= set(_check_names(name, received, group))
    if len(chosen) < group.needed:
        missing = set(group.contributors) - chosen
        raise MissingMessage(
            f"the shares of {len(chosen)} of {len(group.contributors)} contributors reached all of "
            f"{list(lists)}, and {group.needed} are needed. Missing: {sorted(missing)}",
            missing,
        )
    who = tuple(sorted(chosen))
    await link.broadcast(group.contributors, "in the sum", list(who))
    partials = await link.gather(group.contributors, "partial sum", at_least=threshold)
    for name, partial in partials.items():
        _check_elements(name, partial)
    _check_lengths(partials)
    return _reconstructed(partials, group, threshold), who


def _reconstructed(partials: Mapping[str, Words], group: Group, threshold: int) -> Words:
    names = {x: name for name, x in _points(group).items()}
    try:
        return shamir.reconstruct({_points(group)[n]: p for n, p in partials.items()}, threshold)
    except InconsistentShares as error:
        liars = [names[x] for x in error.rows]
        which = f"those of {liars} are wrong" if liars else "which are wrong cannot be told"
        raise MalformedMessage(
            f"the partial sums of {list(partials)} do not fit together; {which} ({error})",
            liars or partials,
        ) from error


def _check_names(sender: str, names: Any, group: Group, least: int = 0) -> list[str]:
    """``names`` if it is a list of ``least`` or more different contributors of ``group``."""
    match names:
        case [*items] if (
            all(isinstance(name, str) and name in group.contributors for name in items)
            and len(set(items)) == len(items) >= least
        ):
            return items
    raise _malformed(sender, f"a list of {least} or more different contributors", names)


def _check_elements(sender: str, values: Any, length: int | None = None) -> None:
    like = f"field elements, uint64 of shape ({'any' if length is None else length},)"
    if not (
        isinstance(values, np.ndarray)
        and values.dtype == np.uint64
        and values.ndim == 1
        and length in (None, len(values))
    ):
        raise _malformed(sender, like, values)
    try:
        field.elements(values)
    except ValueError as error:
        raise _malformed(sender, like, error) from error


# --- both ---------------------------------------------------------------------------------------


def _others(link: Link, group: Group) -> list[str]:
    return sorted(set(group.contributors) - {link.name})


def _points(group: Group) -> dict[str, int]:
    """Each contributor's x: its place, from 1, in the order of names, which all parties share."""
    return {name: x for x, name in enumerate(sorted(group.contributors), start=1)}


def _check_lengths(partials: Mapping[str, Words]) -> None:
    lengths = {name: len(partial) for name, partial in partials.items()}
    if len(set(lengths.values())) > 1:
        raise MalformedMessage(f"partial sums must be of one length, got {lengths}", partials)


def _malformed(sender: str, rule: str, found: Any) -> MalformedMessage:
    """What arrived is described by its kind only: its values may be private."""
    if isinstance(found, np.ndarray):
        kind = f"{found.dtype} of shape {found.shape}"
    else:
        kind = str(found) if isinstance(found, Exception) else type(found).__name__
    return MalformedMessage(f"{sender!r} must send {rule}, got {kind}", [sender])
