"""Products as a protocol: the result, its cost, its faults, its lies, and what a party sees."""

from functools import partial
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from refimpl import network
from refimpl.arithmetic import randomness, ring
from refimpl.computation import products
from refimpl.network import Fault, MalformedMessage, NetworkError, TamperedMessage
from refimpl.network.faults import Kind
from refimpl.smc import additive, beaver, truncation

SHAPES = {"multiply": ((3, 2), (3, 2)), "matmul": ((3, 4), (4, 2)), "dot": ((2, 5), (2, 5))}
TIMES = {"multiply": np.multiply, "matmul": np.matmul, "dot": lambda x, y: (x * y).sum(-1)}
FRACTION = 12


def names(parties):
    return [f"p{k}" for k in range(parties)]


async def dealer(link, parties, product, left, right, shift=None, rng=None):
    await products.deal_triple(link, parties, product, left, right, rng=rng)
    if shift is not None and len(parties) > 2:
        shape = beaver.check_shapes(product, left, right)
        await products.deal_pair(link, parties, shape, shift, rng=rng)


async def party(link, peers, x, y, product, shift=None, to=None):
    """Multiply, truncate if asked to, reveal."""
    triple = await products.receive_triple(link, "dealer", product, x.shape, y.shape)
    z = await getattr(products, product)(link, peers, x, y, triple)
    if shift is not None:
        many = len(peers) > 1
        pair = await products.receive_pair(link, "dealer", z.shape, shift) if many else None
        z = await products.truncate(link, peers, z, shift, pair)
    return await products.reveal(link, peers, z, to=to)


def roles(x, y, product="multiply", parties=2, *, shift=None, to=None, rng=None):
    """Everybody's role, each with its shares of x and y."""
    who = names(parties)
    xs, ys = (map(np.asarray, additive.share(v, parties, rng=rng)) for v in (x, y))
    found = {
        name: partial(
            party,
            peers=[other for other in who if other != name],
            x=a,
            y=b,
            product=product,
            shift=shift,
            to=to,
        )
        for name, a, b in zip(who, xs, ys, strict=True)
    }
    asked = {"parties": who, "product": product, "left": x.shape, "right": y.shape}
    return {**found, "dealer": partial(dealer, **asked, shift=shift, rng=rng)}


def words(seed, shape):
    return np.random.default_rng(seed).integers(0, 2**64, shape, np.uint64)


# --- the result --------------------------------------------------------------------------------


@given(st.integers(2, 5), st.sampled_from(sorted(SHAPES)), st.integers(0, 2**32))
def test_all_parties_hold_the_product(parties, product, seed):
    left, right = SHAPES[product]
    x, y = words(seed, left), words(seed + 1, right)
    outcome = network.run(roles(x, y, product, parties))
    expected = TIMES[product](x, y)
    for name in names(parties):
        assert outcome.results[name].tolist() == expected.tolist()
    assert outcome.results["dealer"] is None
    assert outcome.unread == []


@given(
    st.integers(2, 4),
    st.lists(st.tuples(*[st.floats(-100, 100)] * 2), min_size=1, max_size=6),
)
def test_real_numbers_keep_their_scale(parties, values):
    """Two roundings of the factors, and less than a unit of the truncation.

    A failure of the truncation has a probability of 100²·2^24 / 2^64, below 2^-26 a number, hence
    below 2^-17 in the 600 numbers of this test; so the bits of randomness are fixed.
    """
    v, w = np.array(values).T
    x, y = (truncation.encode(side, FRACTION, bound=100) for side in (v, w))
    rng = randomness.seeded(parties)
    outcome = network.run(roles(x, y, "multiply", parties, shift=FRACTION, rng=rng))
    found = truncation.decode(outcome.results["p0"], FRACTION)
    unit = 2.0**-FRACTION
    assert (np.abs(found - v * w) <= unit * (1 + (np.abs(v) + np.abs(w)) / 2 + unit)).all()


def test_only_those_asked_for_read_an_opening():
    x, y = words(1, (4,)), words(2, (4,))
    outcome = network.run(roles(x, y, parties=3, to=["p1"]))
    assert outcome.results["p1"].tolist() == (x * y).tolist()
    assert outcome.results["p0"] is outcome.results["p2"] is None
    assert {m.receiver for m in outcome.transcript.select(topic="opening")} == {"p1"}


def test_a_reader_may_hold_no_share():
    async def reader(link):
        return await products.receive_opening(link, names(2), (2,))

    async def holder(link, peers, share):
        return await products.reveal(link, peers, share, to=["reader"])

    first, second = additive.share([5, -7], 2)
    found = {
        "p0": partial(holder, peers=["p1"], share=first),
        "p1": partial(holder, peers=["p0"], share=second),
    }
    outcome = network.run({**found, "reader": reader})
    assert ring.to_signed(outcome.results["reader"]).tolist() == [5, -7]
    assert outcome.results["p0"] is outcome.results["p1"] is None


@pytest.mark.parametrize("parties", [2, 3])
def test_steps_follow_each_other_in_one_round_and_in_rounds(parties):
    """x^5 by three products, in round 0 and then in a round of its own each."""

    async def fifth(link, peers, x, rounds):
        power, at = x, link
        squares = []
        for k in range(3):
            at = link.in_round(k) if rounds else link
            triple = await products.receive_triple(at, "dealer", "multiply", x.shape, x.shape)
            factors = (power, power) if k < 2 else (squares[-1], x)
            power = await products.multiply(at, peers, *factors, triple)
            squares.append(power)
        return await products.reveal(at, peers, power)

    async def deal(link, rounds):
        for k in range(3):
            at = link.in_round(k) if rounds else link
            await products.deal_triple(at, names(parties), "multiply", (2,), (2,))

    for rounds in (False, True):
        shares = additive.share([3, -2], parties)
        who = names(parties)
        outcome = network.run(
            {
                name: partial(fifth, peers=[p for p in who if p != name], x=share, rounds=rounds)
                for name, share in zip(who, shares, strict=True)
            }
            | {"dealer": partial(deal, rounds=rounds)}
        )
        for name in who:
            assert ring.to_signed(outcome.results[name]).tolist() == [243, -32]


def test_the_seed_decides_every_message():
    x, y = words(1, (3,)), words(2, (3,))
    first, again, other = (
        [
            [array.tolist() for array in message.payload.values()]
            for message in network.run(
                roles(x, y, parties=3, shift=4, rng=randomness.seeded(seed))
            ).transcript
        ]
        for seed in (1, 1, 2)
    )
    assert first == again
    assert all(one != two for one, two in zip(first, other, strict=True))


def test_numbers_without_dimensions():
    outcome = network.run(roles(np.uint64(2**63 + 3), np.uint64(5)))
    assert outcome.results["p0"].tolist() == (2**63 + 3) * 5 % 2**64


# --- the cost ----------------------------------------------------------------------------------


def payload_bits(transcript, *topics):
    return sum(
        8 * array.nbytes
        for message in transcript
        if message.topic in topics
        for array in message.payload.values()
    )


@pytest.mark.parametrize("length", [1, 10, 1000])
def test_a_dot_product_costs_secureml_s_bits_online(length):
    """4·n·l in all, for two parties and l = 64 bits, as SecureML reports."""
    outcome = network.run(roles(words(1, (length,)), words(2, (length,)), "dot"))
    assert payload_bits(outcome.transcript, "differences") == 4 * length * 64
    assert len(outcome.transcript.select(topic="differences")) == 2


@pytest.mark.parametrize("parties", [2, 3, 5])
def test_a_matrix_product_costs_its_factors_not_its_multiplications(parties):
    x, y = words(1, (8, 9)), words(2, (9, 7))
    outcome = network.run(roles(x, y, "matmul", parties, shift=8))
    pairs = parties * (parties - 1)
    assert payload_bits(outcome.transcript, "differences") == pairs * 64 * (8 * 9 + 9 * 7)
    assert payload_bits(outcome.transcript, "opening") == pairs * 64 * 8 * 7
    truncation_bits = 0 if parties == 2 else pairs * 64 * 8 * 7
    assert payload_bits(outcome.transcript, "masked sum") == truncation_bits
    offline = 64 * (8 * 9 + 9 * 7 + 8 * 7) + (0 if parties == 2 else 2 * 64 * 8 * 7)
    assert payload_bits(outcome.transcript, "triple", "pair") == parties * offline


# --- faults of the network -----------------------------------------------------------------------

PHASES = {  # topic: who sends it, in a product of three parties that is truncated and revealed
    "triple": ["dealer"],
    "pair": ["dealer"],
    "differences": ["p0", "p1", "p2"],
    "masked sum": ["p0", "p1", "p2"],
    "opening": ["p0", "p1", "p2"],
}
CASES = [
    (topic, sender, receiver)
    for topic, senders in PHASES.items()
    for sender in [*senders, None]
    for receiver in ("p1", None)
    if sender != receiver or sender is None
]


@pytest.mark.parametrize("kind", get_args(Kind))
@pytest.mark.parametrize(("topic", "sender", "receiver"), CASES)
def test_a_fault_ends_in_the_exact_product_or_an_error_that_names_the_sender(
    topic, sender, receiver, kind
):
    """One party's message, or all messages of a phase, to one receiver or to all."""
    x, y = truncation.encode([[3.0, -2.5]] * 2, FRACTION, bound=4)
    fault = Fault(kind, sender=sender, receiver=receiver, topic=topic)
    run = partial(
        network.run,
        roles(x, y, "multiply", 3, shift=FRACTION, rng=randomness.seeded(5)),
        faults=[fault],
    )
    if kind in ("delay", "duplicate"):
        outcome = run()
        for name in names(3):
            found = truncation.decode(outcome.results[name], FRACTION)
            assert found.tolist() == [9, 6.25]
        return
    with pytest.raises(NetworkError) as caught:
        run()
    blamed = PHASES[topic] if sender is None else [sender]
    assert {*caught.value.parties} and {*caught.value.parties} <= {*blamed}
    if kind != "drop":
        assert isinstance(caught.value, TamperedMessage)


def test_every_single_message_matters():
    x, y = words(1, (2,)), words(2, (2,))
    calm = network.run(roles(x, y, parties=3, shift=4)).transcript
    assert {m.topic for m in calm} == {*PHASES}
    for message in calm:
        fault = Fault("drop", message.sender, message.receiver, message.topic)
        with pytest.raises(NetworkError, match="was lost") as caught:
            network.run(roles(x, y, parties=3, shift=4), faults=[fault])
        assert caught.value.parties == (message.sender,)
        assert caught.value.__notes__ == [f"raised in the role of {message.receiver!r}"]


# --- messages that hold something else -----------------------------------------------------------


def malformed(payload):
    for key, array in payload.items():
        others = {k: v for k, v in payload.items() if k != key}
        yield others
        for wrong in (array[:-1], array.astype(np.int64), array.tolist(), None, array[None]):
            yield {**others, key: wrong}
    yield {**payload, "more": np.zeros(1, np.uint64)}
    yield [*payload.values()]
    yield None


def test_a_malformed_message_names_its_sender():
    """Each message to p1 in turn is replaced by each malformation, the others stay as they were."""
    x, y = words(1, (2,)), words(2, (2,))
    make = partial(roles, x, y, parties=3, shift=4)
    calm = network.run(make(rng=randomness.seeded(1))).transcript

    async def repeat(link, messages):
        for message, payload in messages:
            await link.send(message.receiver, message.topic, payload)

    for sender in ("dealer", "p0", "p2"):
        sent = calm.select(sender=sender, receiver="p1").messages
        assert {m.topic for m in sent} == {t for t, senders in PHASES.items() if sender in senders}
        for at, struck in enumerate(sent):
            for wrong in malformed(struck.payload):
                lines = [(m, wrong if k == at else m.payload) for k, m in enumerate(sent)]
                others = calm.select(sender=sender).messages
                lines += [(m, m.payload) for m in others if m.receiver != "p1"]
                found = make(rng=randomness.seeded(1))
                with pytest.raises(MalformedMessage, match=f"'{sender}' must send") as caught:
                    network.run({**found, sender: partial(repeat, messages=lines)})
                assert caught.value.parties == (sender,)
                assert caught.value.__notes__ == ["raised in the role of 'p1'"]


# --- lies ---------------------------------------------------------------------------------------


class Liar:
    """A link that adds 2^40 to every array sent under a topic: well-formed, and false."""

    def __init__(self, link, topic):
        self.link, self.topic, self.name = link, topic, link.name

    def __getattr__(self, name):
        return getattr(self.link, name)

    async def send(self, receiver, topic, payload):
        if topic == self.topic:
            payload = {key: array + np.uint64(2**40) for key, array in payload.items()}
        await self.link.send(receiver, topic, payload)

    async def broadcast(self, receivers, topic, payload):
        for receiver in receivers:
            await self.send(receiver, topic, payload)


LIES = {  # what p1 or the dealer lies about: whether anybody notices
    ("p1", "differences"): "not detected (honest-but-curious)",
    ("p1", "masked sum"): "not detected (honest-but-curious)",
    ("p1", "opening"): "not detected (honest-but-curious)",
    ("dealer", "triple"): "not detected (honest-but-curious)",
    ("dealer", "pair"): "not detected (honest-but-curious)",
}


@pytest.mark.parametrize(("who", "topic"), LIES)
def test_a_lie_is_not_detected_and_the_result_is_wrong(who, topic):
    x, y = (truncation.encode([value], FRACTION, bound=8) for value in (3, 5))
    honest = roles(x, y, parties=3, shift=FRACTION, rng=randomness.seeded(2))
    role = honest[who]
    outcome = network.run({**honest, who: lambda link: role(Liar(link, topic))})
    assert LIES[who, topic].startswith("not detected") and outcome.errors == {}
    assert truncation.decode(outcome.results["p0"], FRACTION).tolist() != [15]
    calm = network.run(roles(x, y, parties=3, shift=FRACTION, rng=randomness.seeded(2)))
    assert truncation.decode(calm.results["p0"], FRACTION).tolist() == [15]


# --- what a party sees ----------------------------------------------------------------------------

DRAWS = 1 << 16


def low_and_high_bits(columns):
    """The joint histogram of one bit of each column: the lowest, and the highest."""
    for shift in (0, 63):
        bits = [(column >> np.uint64(shift)).astype(np.int64) & 1 for column in columns]
        cell = sum(bit << place for place, bit in enumerate(bits))
        yield np.bincount(cell, minlength=2 ** len(columns))


def seen(parties, coalition, secret, rng):
    """What ``coalition`` knows before anything is revealed: its shares, and others' messages."""
    x, y = (np.full(DRAWS, value, np.uint64) for value in secret)
    who = names(parties)
    xs, ys = additive.share(x, parties, rng=rng), additive.share(y, parties, rng=rng)

    async def silent(link, peers, x, y):
        triple = await products.receive_triple(link, "dealer", "multiply", x.shape, y.shape)
        await products.multiply(link, peers, x, y, triple)

    asked = {"parties": who, "product": "multiply", "left": x.shape, "right": y.shape}
    found = {
        name: partial(silent, peers=[p for p in who if p != name], x=xs[k], y=ys[k])
        for k, name in enumerate(who)
    }
    transcript = network.run({**found, "dealer": partial(dealer, **asked, rng=rng)}).transcript
    view = transcript.view(*coalition)
    received = [m for m in view if m.receiver in coalition and m.sender not in coalition]
    own = [side[who.index(name)] for name in coalition for side in (xs, ys)]
    return received, own


@pytest.mark.parametrize("secret", [(0, 0), (1, 2**63 + 1)])
@pytest.mark.parametrize(("parties", "coalition"), [(2, ("p0",)), (2, ("p1",)), (3, ("p0", "p2"))])
def test_a_view_is_uniform_whatever_the_inputs_and_holds_nothing_else(parties, coalition, secret):
    """All but one party, the dealer not among them. Jointly: a bit of each word that they hold.

    With two parties these are 7 words (x, y, a, b, c, and the other's d, e), with three 12. The
    chi-square test over all joint values has a chance failure of 1e-8 each. Power: a word that
    another one determines empties half of the cells. A pair of bits that agree with probability
    0.5 + 0.05 is found with probability above 0.999: noncentrality 65536·4·0.05² = 655, where 4095
    degrees of freedom put the threshold at 4095 + 5.9·90 and the mean 7.2·90 above 4095.
    """
    rng = randomness.seeded(secret[0] + 10 * parties, "-".join(coalition))
    received, own = seen(parties, coalition, secret, rng)
    silent = [name for name in names(parties) if name not in coalition]
    assert sorted((m.sender, m.receiver, m.topic) for m in received) == sorted(
        (sender, name, topic)
        for name in coalition
        for sender, topic in [("dealer", "triple"), *((other, "differences") for other in silent)]
    )
    dealt = [m.payload[key] for m in received if m.topic == "triple" for key in "abc"]
    told = [m.payload[key] for m in received if m.topic == "differences" for key in "de"]
    if len(coalition) > 1:  # each of them is told the same
        assert all(np.array_equal(told[k], told[k + 2]) for k in range(2))
    for histogram in low_and_high_bits([*own, *dealt, *told[:2]]):
        assert stats.chisquare(histogram).pvalue > 1e-8


def test_with_the_dealer_a_party_reads_the_inputs():
    """The collusion that is not withstood: d + a is x."""
    x, y = words(1, (3,)), words(2, (3,))
    transcript = network.run(roles(x, y)).transcript
    view = transcript.view("p0", "dealer")
    a = sum(m.payload["a"] for m in view.select(topic="triple"))
    d = sum(m.payload["d"] for m in view.select(topic="differences"))
    assert (a + d).tolist() == x.tolist()


def test_the_dealer_hears_nothing():
    transcript = network.run(roles(words(1, (3,)), words(2, (3,)), parties=3, shift=3)).transcript
    assert {m.sender for m in transcript.view("dealer")} == {"dealer"}


# --- errors -------------------------------------------------------------------------------------


async def wrong_triple(link, peers, x, y):
    triple = await products.receive_triple(link, "dealer", "multiply", x.shape, y.shape)
    await products.dot(link, peers, x, y, triple)


async def no_pair(link, peers, x, y):
    await products.truncate(link, peers, x, 4)


async def other_shift(link, peers, x, y):
    pair = await products.receive_pair(link, "dealer", x.shape, 4)
    await products.truncate(link, peers, x, 5, pair)


@pytest.mark.parametrize(
    ("role", "parties", "message"),
    [
        (wrong_triple, 2, "triple must be dealt for 'dot', got one for 'multiply'"),
        (no_pair, 3, "parties must be 2 for a local truncation, got 3"),
        (other_shift, 3, "pair must be dealt for shift=5, got 4"),
    ],
)
def test_misuse_is_named(role, parties, message):
    who = names(parties)
    share = np.zeros(3, np.uint64)
    asked = {"parties": who, "product": "multiply", "left": (3,), "right": (3,)}
    found = {
        name: partial(role, peers=[p for p in who if p != name], x=share, y=share) for name in who
    }
    with pytest.raises(ValueError, match=message):
        network.run({**found, "dealer": partial(dealer, **asked, shift=4)})
