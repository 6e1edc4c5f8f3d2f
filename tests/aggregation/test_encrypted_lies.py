"""Parties that send falsehoods to an encrypted sum: which are detected, and which are not."""

from dataclasses import replace

import numpy as np
import pytest

from refimpl.aggregation import Group, threshold_lattice
from refimpl.arithmetic import randomness
from refimpl.arithmetic.fixed_point import FixedPoint
from refimpl.he import integers, rlwe, threshold_rlwe, wide
from refimpl.he.ciphertext import parse, parse_partial
from refimpl.network import MalformedMessage
from tests.aggregation.encrypted import (
    NAMES,
    ROUND,
    SCHEMES,
    SINGLE,
    credentials_of,
    exact_sum,
    outcome_of,
    vectors_of,
)
from tests.aggregation.test_secret_sharing_lies import Liar, only

every = pytest.mark.parametrize("scheme", SCHEMES)
single = pytest.mark.parametrize("scheme", SINGLE)
shared = pytest.mark.parametrize("scheme", ["ThresholdPaillier", "ThresholdLattice"])
DECRYPTS = "p2"  # asked first in round 7
UNIT = 16 / 32767


def lied_to(scheme, lie, *, who="p1", vector=None, **options):
    """The run of one sum in which ``who`` lies, and the vectors."""
    aggregation, vectors = SCHEMES[scheme], vectors_of()
    credentials = credentials_of(scheme)
    group = Group("server", NAMES, ROUND)

    async def liar(link):
        mine = credentials[who]
        if who == "server":
            return await aggregation.collect(Liar(link, lie), group, mine)
        said = vectors[who] if vector is None else vector
        return await aggregation.contribute(Liar(link, lie), said, group, mine)

    return outcome_of(
        scheme, vectors, replaced={who: liar}, credentials=credentials, **options
    ), vectors


def change(data, **fields):
    """A ciphertext or partial decryption with other fields, its digest made anew."""
    try:
        item = parse(data)
    except ValueError:
        item = parse_partial(data)
    return replace(item, **fields).to_bytes()


# --- not detected (honest-but-curious) -----------------------------------------------------------


@every
def test_another_vector_is_not_detected(scheme):
    vectors = vectors_of()
    outcome, _ = lied_to(scheme, only("", None), vector=vectors["p1"] + 1)
    total, who = outcome.results["server"]
    moved = {**vectors, "p1": vectors["p1"] + 1}
    assert (total.tolist(), who) == (exact_sum(scheme, moved, NAMES), NAMES)


@single
def test_a_false_decryption_is_not_detected_within_the_bound(scheme):
    outcome, vectors = lied_to(scheme, only("decryption", lambda v: v + 1), who=DECRYPTS)
    total, _ = outcome.results["server"]
    assert total.tolist() == [value + 1 for value in exact_sum(scheme, vectors, NAMES)]


def test_a_part_times_a_power_of_1_plus_n_shifts_a_paillier_sum_unseen():
    public = credentials_of("ThresholdPaillier")["server"].public
    n = public.n

    def shifted(data):
        """One level more in the first slot: c (1 + n)^k with 2 λ k = 4 Δ² modulo n."""
        part = parse_partial(data)
        (number,) = integers.from_rows(part.arrays[0])
        weight = 2 * _coefficient(part.party)
        k = 4 * 120**2 * pow(weight, -1, n) % n
        rows = integers.to_rows([number * pow(1 + n, k, n * n) % (n * n)], 512)
        return change(data, arrays=(rows,))

    outcome, vectors = lied_to("ThresholdPaillier", only("decryption", shifted), who=DECRYPTS)
    total, _ = outcome.results["server"]
    right = exact_sum("ThresholdPaillier", vectors, NAMES)
    assert total[1:].tolist() == right[1:]
    assert total[0] - right[0] == pytest.approx(UNIT, rel=1e-6)


def _coefficient(party):
    """Δ times Lagrange's coefficient at 0 among parties 3, 4 and 5, Δ = 5!."""
    top, bottom = 120, 1
    for other in {3, 4, 5} - {party}:
        top, bottom = top * other, bottom * (other - party)
    return top // bottom


def test_a_part_one_level_larger_shifts_a_lattice_sum_unseen():
    aggregation = SCHEMES["ThresholdLattice"]
    bits = aggregation._parameters(Group("server", NAMES, 0), bytes(16))

    def shifted(data):
        words = wide.unpack(*parse_partial(data).arrays, bits.modulus_bits)
        words[1, 0, 0] += np.uint64(1 << (bits.noise_bits - 64))
        return change(data, arrays=wide.pack(words, bits.modulus_bits))

    outcome, vectors = lied_to("ThresholdLattice", only("decryption", shifted))
    total, _ = outcome.results["server"]
    right = exact_sum("ThresholdLattice", vectors, NAMES)
    assert total[1:].tolist() == right[1:]
    assert total[0] - right[0] == pytest.approx(UNIT, rel=1e-6)


@pytest.mark.parametrize("scheme", ["Paillier", "ThresholdPaillier", "ThresholdLattice"])
def test_a_collector_that_says_it_is_the_sum_gets_a_contribution_decrypted(scheme):
    """Nobody who decrypts can tell. What comes back is the value less 4 bounds, as the offsets of
    the four that are not in it are taken off; the server adds them again."""
    aggregation, credentials = SCHEMES[scheme], credentials_of(scheme)
    stolen = {}

    class Thief(Liar):
        async def gather(self, senders, topic, at_least=None):
            got = await self.link.gather(senders, topic, at_least=at_least)
            if topic == "ciphertext":
                stolen["p4"] = got["p4"]
            elif topic == "decryption":
                stolen["answers"] = got
            return got

        def in_round(self, round):
            return self

    def lie(receiver, topic, payload):
        if topic == "encrypted sum" and payload:
            return change(stolen["p4"], summands=5)
        return payload

    async def thief(link):
        here = Thief(link.in_round(ROUND), lie)
        here.gather = lambda *a, **k: Thief.gather(here, *a, **k)
        group = Group("server", NAMES, ROUND)
        return await aggregation.collect(here, group, credentials["server"])

    vectors = vectors_of()
    try:
        outcome_of(scheme, vectors, replaced={"server": thief}, credentials=credentials)
    except MalformedMessage as error:  # its own checks, which a thief leaves out
        assert "server" not in error.parties
    answers = stolen["answers"]
    if scheme == "Paillier":
        (values,) = answers.values()
    else:
        public = getattr(credentials["server"], "public", None)
        public = public or credentials["server"].of_group["server", NAMES][0]
        values = public.combine([public.partial_from_bytes(data) for data in answers.values()])
    np.testing.assert_allclose(values + 4 * 16, vectors["p4"], atol=UNIT)


def test_a_collector_that_hands_out_a_key_of_its_own_reads_all():
    """The contributors encrypt under a key whose only secrets the collector drew."""
    aggregation, vectors = SCHEMES["ThresholdLattice"], vectors_of()
    credentials, group = credentials_of("ThresholdLattice"), Group("server", NAMES, ROUND)
    own, seen = {}, {}

    async def thief(link):
        here = link.in_round(ROUND)
        await here.gather(NAMES, "public key share")
        parameters = aggregation._parameters(
            group, threshold_lattice._seed(credentials["server"], group)
        )
        pairs = [threshold_rlwe.generate_share(parameters, k) for k in range(1, 6)]
        own["public"] = threshold_rlwe.combine_keys(parameters, [public for public, _ in pairs])
        own["shares"] = [share for _, share in pairs]
        packed = threshold_lattice._packed(own["public"].b, parameters)
        await here.broadcast(NAMES, "public key", packed)
        seen.update(await here.gather(NAMES, "ciphertext"))

    outcome_of(
        "ThresholdLattice",
        vectors,
        replaced={"server": thief},
        credentials=credentials,
        required=["server"],
    )
    for name, data in seen.items():
        ciphertext = own["public"].from_bytes(data)
        parts = [share.partial_decrypt(own["public"], ciphertext) for share in own["shares"]]
        np.testing.assert_allclose(own["public"].combine(parts), vectors[name], atol=UNIT / 2)


# --- detected -----------------------------------------------------------------------------------


def lies_in_a_ciphertext(data):
    """What is no ciphertext of one vector under the group's key, and what the error says."""
    right = parse(data)
    terms = right.terms
    yield None, "bytes are wanted, got NoneType"
    yield np.frombuffer(data, np.uint8), "bytes are wanted, got ndarray"
    yield b"", "damaged, or cut"
    yield data[:-1], "damaged, or cut"
    yield data[:50] + bytes([data[50] ^ 1]) + data[51:], "damaged, or cut"
    yield change(data, summands=2), "the ciphertext of one vector, got a sum of 2|must hold"
    yield change(data, terms=replace(terms, key=bytes(16))), "another public key"
    yield change(data, terms=replace(terms, scheme="rot13")), "is of rot13"
    code = replace(terms.encoding, bound=terms.encoding.bound / 2)
    yield change(data, terms=replace(terms, encoding=code)), "all who add must agree on one"
    yield change(data, arrays=right.arrays[:1] * 3), "must (be|hold|come)"


@every
def test_what_is_no_ciphertext_names_its_sender(scheme):
    public = outcome_of(scheme, vectors_of()).transcript.select(topic="ciphertext", sender="p1")
    count = sum(1 for _ in lies_in_a_ciphertext(public.messages[0].payload))
    for k in range(count):
        texts = []

        def pick(data, k=k, texts=texts):
            lie, text = list(lies_in_a_ciphertext(data))[k]
            texts.append(text)
            return lie

        with pytest.raises(MalformedMessage, match="'p1'") as error:
            lied_to(scheme, only("ciphertext", pick), required=["server"])
        assert error.value.parties == ("p1",)
        error.match(texts[0])


def test_a_number_outside_the_group_names_its_sender():
    for wrong, text in ((bytes(512), "outside the group"), (b"\xff" * 512, "outside the group")):
        rows = np.frombuffer(wrong, np.uint8).reshape(1, 512).copy()
        lie = only("ciphertext", lambda data, rows=rows: change(data, arrays=(rows,)))
        with pytest.raises(MalformedMessage, match=text) as error:
            lied_to("Paillier", lie, required=["server"])
        assert error.value.parties == ("p1",)


@every
@pytest.mark.parametrize(
    ("lie", "text"),
    [
        (
            lambda data: change(data, summands=4),
            "at least 5 vectors of length 4, got one of 4|must hold",
        ),
        (lambda data: None, "bytes are wanted"),
        (lambda data: data[:-1], "damaged, or cut"),
    ],
)
def test_a_collector_that_asks_for_something_else_is_named(scheme, lie, text):
    """So nobody decrypts what says that it holds fewer vectors than the group needs."""
    ask = only("encrypted sum", lambda data: lie(data) if data else data, to=DECRYPTS)
    with pytest.raises(MalformedMessage, match=text) as error:
        lied_to(scheme, ask, who="server", required=[DECRYPTS])
    assert error.value.parties == ("server",)


@single
def test_a_sum_that_cannot_be_decrypted_names_the_collector(scheme):
    def spoilt(data):
        if not data:
            return data
        item = parse(data)
        arrays = [array.copy() for array in item.arrays]
        if scheme == "Paillier":
            arrays[0][0, 40:100] = 7
        else:
            arrays[0][0] ^= randomness.seeded(1).uint64(4096)
        return change(data, arrays=tuple(arrays))

    with pytest.raises(MalformedMessage, match=r"cannot be decrypted|outside the group") as error:
        lied_to(scheme, only("encrypted sum", spoilt), who="server", required=[DECRYPTS])
    assert error.value.parties == ("server",)


@single
@pytest.mark.parametrize(
    "lie",
    [
        None,
        b"",
        np.zeros(3),
        np.zeros((4, 1)),
        np.zeros(4, np.float32),
        np.array([0, 0, np.nan, 0]),
        np.array([0, 0, 80.1, 0]),
    ],
    ids=str,
)
def test_an_answer_that_cannot_be_the_sum_names_who_decrypted(scheme, lie):
    with pytest.raises(MalformedMessage, match=r"must decrypt to float64 of shape \(4,\)") as error:
        lied_to(scheme, only("decryption", lambda _: lie), who=DECRYPTS, required=["server"])
    assert error.value.parties == (DECRYPTS,)


@shared
@pytest.mark.parametrize(
    ("lie", "text"),
    [
        (lambda data: None, "bytes are wanted"),
        (lambda data: data[:-1], "damaged, or cut"),
        (lambda data: change(data, party=1), "must send part 3 .* got part 1"),
        (lambda data: change(data, of=bytes(16)), "of another ciphertext"),
        (lambda data: change(data, summands=4), "must send part 3"),
        (lambda data: change(data, length=3), "must send part 3"),
    ],
)
def test_what_is_no_part_of_the_sum_names_its_sender(scheme, lie, text):
    with pytest.raises(MalformedMessage, match=text) as error:
        lied_to(scheme, only("decryption", lie), who=DECRYPTS, required=["server"])
    assert error.value.parties == (DECRYPTS,)


@shared
def test_a_spoilt_part_is_detected_and_whose_it_is_cannot_be_told(scheme):
    def spoilt(data):
        part = parse_partial(data)
        arrays = [array.copy() for array in part.arrays]
        arrays[0].reshape(-1)[4] ^= 1
        if scheme == "ThresholdLattice":
            arrays[1][:] ^= randomness.seeded(1).bits(8, arrays[1].shape).astype(np.uint8)
        return change(data, arrays=tuple(arrays))

    with pytest.raises(MalformedMessage, match="do not fit together") as error:
        lied_to(scheme, only("decryption", spoilt), who=DECRYPTS, required=["server"])
    assert {DECRYPTS} < set(error.value.parties) <= set(NAMES)


@pytest.mark.parametrize("topic", ["public key share", "public key"])
def test_what_is_no_key_names_its_sender(topic):
    who = "p1" if topic == "public key share" else "server"
    for lie in (
        lambda key: None,
        lambda key: key[:1],
        lambda key: (key[0][:-1], key[1]),
        lambda key: (key[0].view(np.int64), key[1]),
        lambda key: (key[0], key[1][:-1]),
    ):
        with pytest.raises(MalformedMessage, match=f"'{who}' must send a key") as error:
            lied_to("ThresholdLattice", only(topic, lie), who=who)
        assert error.value.parties == (who,)


# --- keys that are mixed up -----------------------------------------------------------------------


@every
def test_credentials_of_another_setup_are_an_error(scheme):
    aggregation, vectors = SCHEMES[scheme], vectors_of()
    mine = credentials_of(scheme)
    others = aggregation.setup([*NAMES, "server"], randomness.seeded(5))
    if scheme == "ThresholdLattice":  # with another public seed, another common polynomial
        with pytest.raises(MalformedMessage, match="another public key"):
            outcome_of(scheme, vectors, credentials={**mine, "p1": others["p1"]})
        return
    with pytest.raises(MalformedMessage, match=r"'p1' sent .* another public key") as error:
        outcome_of(scheme, vectors, credentials={**mine, "p1": others["p1"]})
    assert error.value.parties == ("p1",)


def test_a_key_for_fewer_summands_than_contribute_is_an_error():
    """One summand too many: the key holder made a key for four."""
    credentials = credentials_of("Lattice")
    public, private = rlwe.generate_keypair(encoding=FixedPoint(16.0, 16, 4))
    short = {
        name: replace(own, public=public, secret=own.secret and private)
        for name, own in credentials.items()
    }
    with pytest.raises(MalformedMessage, match=r"summands must be .* between 1 and 4, got 5"):
        outcome_of("Lattice", vectors_of(), credentials=short)


def test_the_oracle_of_liars_tells_honest_runs_apart():
    """Without a lie these runs are exact, so that the tests above show what the lies do."""
    for scheme in SCHEMES:
        outcome, vectors = lied_to(scheme, only("", None))
        assert outcome.results["server"][0].tolist() == exact_sum(scheme, vectors, NAMES)
