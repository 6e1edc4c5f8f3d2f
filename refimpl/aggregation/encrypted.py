"""What encrypted sums share: ciphertexts go to the collector, key holders decrypt their sum for it.

- contributor to collector, "ciphertext";
- collector to contributors, "encrypted sum": to as many as the decryption takes, who rotate with
  the rounds; the others, once it is done, get ``b""`` in its place;
- those to collector, "decryption".

Everything travels as the bytes that ``refimpl.he.ciphertext`` describes, and is checked on receipt.
A contributor decrypts nothing that claims to hold fewer vectors than its group needs. The claim is
the collector's: one that lies about it reads a single contribution. So all this is for
honest-but-curious parties; see each protocol for who must not pool what they know.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np

from refimpl.aggregation.interface import Group
from refimpl.arithmetic import randomness
from refimpl.arithmetic.randomness import CryptoGenerator
from refimpl.he.ciphertext import Ciphertext
from refimpl.network import Link, MalformedMessage, MissingMessage

SERVER = "server"
NOTHING = b""
T = TypeVar("T")


class PublicKey(Protocol):
    """What a collector needs of a public key; those of ``refimpl.he`` have it."""

    def add(self, *ciphertexts: Ciphertext) -> Ciphertext:
        """The encrypted sum."""
        ...

    def from_bytes(self, data: bytes) -> Ciphertext:
        """What ``Ciphertext.to_bytes`` wrote, checked."""
        ...


@dataclass(frozen=True)
class Credentials:
    """What a party holds: the ``public`` key, its ``secret`` one or share (the server's: None).

    ``rng``: its own generator. ``numbers``: whose share has which number, where keys are shared.
    """

    public: Any
    secret: Any = field(repr=False)
    rng: CryptoGenerator = field(repr=False)
    numbers: dict[str, int] = field(default_factory=dict)


def own_generators(
    parties: Sequence[str], rng: CryptoGenerator | None
) -> tuple[CryptoGenerator, dict[str, CryptoGenerator]]:
    """Where keys come from, and a generator of its own for each party."""
    rng = randomness.resolve(rng)
    return rng, {name: CryptoGenerator(rng.bytes(16)) for name in parties}


async def gather_ciphertexts(
    link: Link, group: Group, public: PublicKey
) -> tuple[Ciphertext, tuple[str, ...]]:
    """The encrypted sum, and whose vectors are in it. ``link`` is in the group's round."""
    received = await link.gather(group.contributors, "ciphertext", at_least=group.at_least)
    found = {name: read(public.from_bytes, data, name) for name, data in received.items()}
    for name, ciphertext in found.items():
        if ciphertext.summands != 1:
            raise MalformedMessage(
                f"{name!r} must send the ciphertext of one vector, got a sum of "
                f"{ciphertext.summands}",
                [name],
            )
    try:
        return public.add(*found.values()), tuple(found)
    except ValueError as error:
        raise MalformedMessage(
            f"the ciphertexts of {list(found)} do not fit together: {error}", found
        ) from error


async def receive_sum(
    link: Link, group: Group, public: PublicKey, length: int
) -> Ciphertext | None:
    """The encrypted sum, if this contributor is to decrypt it; ``length`` is that of its vector."""
    data = await link.receive(group.collector, "encrypted sum")
    if data == NOTHING:
        return None
    total = read(public.from_bytes, data, group.collector)
    if total.summands < group.needed or total.length != length:
        raise MalformedMessage(
            f"{group.collector!r} must ask for a sum of at least {group.needed} vectors of length "
            f"{length}, got one of {total.summands} of length {total.length}",
            [group.collector],
        )
    return total


async def decryptions(
    link: Link, group: Group, who: Sequence[str], total: Ciphertext, needed: int
) -> dict[str, Any]:
    """The answers of ``needed`` contributors; others are asked where some fail and may."""
    willing = in_turn(group, who)
    found: dict[str, Any] = {}
    asked: list[str] = []
    while len(found) < needed and len(asked) < len(willing):
        batch = willing[len(asked) :][: needed - len(found)]
        asked += batch
        await link.broadcast(batch, "encrypted sum", total.to_bytes())
        least = None if group.at_least is None else 0
        found.update(await link.gather(batch, "decryption", at_least=least))
    if len(found) < needed:
        missing = sorted({*asked} - {*found})
        raise MissingMessage(
            f"decryptions by {len(found)} of {len(asked)} contributors reached "
            f"{group.collector!r}, and {needed} are needed. Missing: {missing}",
            missing,
        )
    await link.broadcast(sorted({*willing} - {*asked}), "encrypted sum", NOTHING)
    return found


def in_turn(group: Group, who: Sequence[str]) -> list[str]:
    """Whom to ask first: those in the sum, from another one each round, and then the others."""
    start = group.round % len(who)
    return [*who[start:], *who[:start], *sorted({*group.contributors} - {*who})]


def read(parse: Callable[[bytes], T], data: Any, sender: str) -> T:
    """What ``parse`` makes of ``data``; MalformedMessage, naming the sender, if it cannot."""
    try:
        return parse(data)
    except (ValueError, TypeError) as error:
        raise MalformedMessage(f"{sender!r} sent {error}", [sender]) from error


def check_sum(values: Any, length: int, most: float, sender: str) -> np.ndarray:
    """``values`` if they can be a sum: float64 of shape (length,), none beyond ``most``."""
    right = isinstance(values, np.ndarray) and values.dtype == np.float64
    if right and values.shape == (length,) and (np.abs(values) <= most * (1 + 1e-9)).all():
        return values
    raise MalformedMessage(
        f"{sender!r} must decrypt to float64 of shape ({length},), none beyond {most}", [sender]
    )
