"""Products of secrets that parties hold in additive shares, as a protocol between them.

The functions are steps of a party's role. Each party calls the same steps in the same order, with
its own shares; the dealer is a party that says one thing before the inputs are known and then
nothing any more (the offline phase):

    async def party(link, peers, x, y):                    # its shares, of shape (n,)
        triple = await products.receive_triple(link, "dealer", "dot", x.shape, y.shape)
        z = await products.dot(link, peers, x, y, triple)
        return await products.reveal(link, peers, z)

    async def dealer(link, parties):
        await products.deal_triple(link, parties, "dot", (n,), (n,))

``peers`` are the other parties, without the dealer; who of them comes first by name adds the
public terms. Shares are ``uint64`` arrays of Z_2^64, reals encoded by ``smc.truncation``. Steps of
one kind may follow each other in one round; where a protocol has rounds, hand in
``link.in_round(k)``.

Cost online, of n parties: a product takes one exchange, in which each sends its shares of d and e
to each other. For two parties and a dot product of length n with l = 64 bits that is 4·n·l bits in
all, as in SecureML. ``truncate`` costs two parties nothing and more parties one exchange of the
array; ``reveal`` costs one of the result.

Adversary: withstands all but one honest-but-curious parties who pool what they saw, provided that
the dealer is not among them. What a party sees is uniform and independent of the inputs, up to
what ``reveal`` opens to it. The dealer sees nothing. Not withstood: a party that sends a wrong
difference or opening, or a dealer that deals a wrong triple, changes the result undetected.
Faults of the network end in an error that names the sender: ``NetworkError``, and where a message
holds something else than it should, ``MalformedMessage``.
Sources: see ``smc.beaver`` and ``smc.truncation``.
"""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from refimpl.arithmetic import ring
from refimpl.arithmetic.randomness import CryptoGenerator
from refimpl.network import Link, MalformedMessage
from refimpl.smc import beaver, truncation
from refimpl.smc.beaver import Product, Triple
from refimpl.smc.truncation import Pair

Words = NDArray[np.uint64]
Shape = tuple[int, ...]


async def deal_triple(
    link: Link,
    parties: Sequence[str],
    product: Product,
    left: Shape,
    right: Shape,
    *,
    rng: CryptoGenerator | None = None,
) -> None:
    """The dealer's step: a fresh triple for factors of these shapes, a share to each party."""
    triples = beaver.deal(product, left, right, len(parties), rng=rng)
    for party, triple in zip(parties, triples, strict=True):
        await link.send(party, "triple", {"a": triple.a, "b": triple.b, "c": triple.c})


async def receive_triple(
    link: Link, dealer: str, product: Product, left: Shape, right: Shape
) -> Triple:
    """A party's step: its share of a triple that ``dealer`` deals with the same arguments."""
    shapes = {"a": left, "b": right, "c": beaver.check_shapes(product, left, right)}
    return Triple(product, **_fields(await link.receive(dealer, "triple"), shapes, sender=dealer))


async def deal_pair(
    link: Link,
    parties: Sequence[str],
    shape: Shape,
    shift: int,
    *,
    rng: CryptoGenerator | None = None,
) -> None:
    """The dealer's step: a pair (r, r >> shift) for an array of ``shape``, a share to each."""
    for party, pair in zip(
        parties, truncation.pairs(shape, shift, len(parties), rng=rng), strict=True
    ):
        await link.send(party, "pair", {"mask": pair.mask, "shifted": pair.shifted})


async def receive_pair(link: Link, dealer: str, shape: Shape, shift: int) -> Pair:
    """A party's step: its share of a pair that ``dealer`` deals with the same arguments."""
    shapes = {"mask": shape, "shifted": shape}
    fields = _fields(await link.receive(dealer, "pair"), shapes, sender=dealer)
    return Pair(fields["mask"], fields["shifted"], shift)


async def multiply(link: Link, peers: Collection[str], x: Words, y: Words, triple: Triple) -> Words:
    """One's share of x·y, element by element; ``x``, ``y``: one's shares, of one shape."""
    return await _product("multiply", link, peers, x, y, triple)


async def matmul(link: Link, peers: Collection[str], x: Words, y: Words, triple: Triple) -> Words:
    """One's share of the matrix product of x, shape (m, k), and y, shape (k, n)."""
    return await _product("matmul", link, peers, x, y, triple)


async def dot(link: Link, peers: Collection[str], x: Words, y: Words, triple: Triple) -> Words:
    """One's share of the dot products of x and y along their last axis."""
    return await _product("dot", link, peers, x, y, triple)


async def truncate(
    link: Link, peers: Collection[str], x: Words, shift: int, pair: Pair | None = None
) -> Words:
    """One's share of x / 2^shift, rounded up or down; fails as ``smc.truncation`` says.

    Two parties need no ``pair`` and no message. With more of them ``pair`` must be given, and was
    dealt for the same ``shift``: ValueError otherwise.
    """
    if pair is None:
        party = 0 if _leads(link, peers) else 1
        return truncation.local(x, shift, party=party, parties=len(peers) + 1)
    if pair.shift != shift:
        raise ValueError(f"pair must be dealt for shift={shift}, got {pair.shift}")
    opened = await _open(link, peers, "masked sum", {"sum": truncation.masked(x, pair)})
    return truncation.truncated(opened["sum"], pair, leads=_leads(link, peers))


async def reveal(
    link: Link, peers: Collection[str], share: Words, *, to: Collection[str] | None = None
) -> Words | None:
    """Open a shared value to the parties ``to`` (default: all that share it).

    Returns the value to those it is opened to, and None to the others. A reader who holds no
    share calls ``receive_opening``.
    """
    readers = {link.name, *peers} if to is None else set(to)
    own = np.asarray(share)
    await link.broadcast(sorted(readers - {link.name}), "opening", {"share": own})
    if link.name not in readers:
        return None
    return ring.add(own, await receive_opening(link, peers, own.shape))


async def receive_opening(link: Link, parties: Collection[str], shape: Shape) -> Words:
    """The sum of the shares that ``parties`` open to oneself: the value, if they hold them all."""
    return (await _sums(link, parties, "opening", {"share": shape}))["share"]


async def _product(
    name: Product, link: Link, peers: Collection[str], x: Words, y: Words, triple: Triple
) -> Words:
    if triple.product != name:
        raise ValueError(f"triple must be dealt for {name!r}, got one for {triple.product!r}")
    d, e = beaver.differences(x, y, triple)
    opened = await _open(link, peers, "differences", {"d": d, "e": e})
    return beaver.product_share(opened["d"], opened["e"], triple, leads=_leads(link, peers))


async def _open(
    link: Link, peers: Collection[str], topic: str, own: dict[str, Words]
) -> dict[str, Words]:
    """Everybody sends its shares to everybody: the sums."""
    await link.broadcast(sorted(peers), topic, own)
    others = await _sums(link, peers, topic, {key: share.shape for key, share in own.items()})
    return {key: ring.add(share, others[key]) for key, share in own.items()}


async def _sums(
    link: Link, senders: Collection[str], topic: str, shapes: dict[str, Shape]
) -> dict[str, Words]:
    """What ``senders`` send under ``topic``, added up key by key."""
    totals = {key: np.zeros(shape, np.uint64) for key, shape in shapes.items()}
    for sender, payload in (await link.gather(senders, topic)).items():
        for key, share in _fields(payload, shapes, sender=sender).items():
            totals[key] += share
    return totals


def _fields(payload: object, shapes: dict[str, Shape], *, sender: str) -> dict[str, Words]:
    """``payload`` if it holds exactly these arrays of ``uint64``; else MalformedMessage."""
    if isinstance(payload, dict):
        arrays = payload.values()
        words = all(isinstance(array, np.ndarray) and array.dtype == np.uint64 for array in arrays)
        if words and {key: array.shape for key, array in payload.items()} == shapes:
            return payload
    raise MalformedMessage(f"{sender!r} must send uint64 arrays of the shapes {shapes}", [sender])


def _leads(link: Link, peers: Collection[str]) -> bool:
    """Whether oneself is the one party that adds the public terms."""
    return link.name < min(peers)
