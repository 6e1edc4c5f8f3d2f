from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from refimpl import network
from refimpl.aggregation import Group, Plain
from refimpl.network import Fault, MalformedMessage, MissingMessage


def summed(vectors, *, at_least=None, round=0, sent=None, **options):
    """The sum that the server collects of ``vectors``, whose it is, and the transcript."""
    aggregation, names = Plain(), tuple(f"p{k}" for k in range(len(vectors)))
    group = Group("server", names, round, at_least)
    credentials = aggregation.setup([*names, "server"])
    roles = {
        name: partial(
            aggregation.contribute, vector=vector, group=group, credentials=credentials[name]
        )
        for name, vector in zip(names, vectors, strict=True)
    }
    for name, payload in (sent or {}).items():
        roles[name] = partial(say, payload=payload)
    roles["server"] = partial(aggregation.collect, group=group, credentials=credentials["server"])
    outcome = network.run(roles, required=["server"], **options)
    return *outcome.results["server"], outcome.transcript


async def say(link, payload):
    await link.send("server", "contribution", payload)


@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 6), st.integers(0, 9)),
        elements=st.floats(-(2.0**20), 2.0**20, width=32),
    )
)
def test_it_is_the_sum(vectors):
    """In float64: of 6 float32 up to 2^20, each rounding is below 2^-29."""
    total, who, transcript = summed(list(vectors))
    assert total.dtype == np.float64
    exact = [float(sum(map(float, column))) for column in vectors.T]
    np.testing.assert_allclose(total, exact, rtol=0, atol=6 * 2.0**-29)
    assert who == tuple(f"p{k}" for k in range(len(vectors)))
    assert len(transcript) == len(vectors)


def test_small_values_are_not_lost_beside_large_ones():
    total, _, _ = summed([np.array([2.0**30], np.float32), np.array([1.0], np.float32)])
    assert total[0] == 2.0**30 + 1  # a float32 sum would be 2^30


def test_the_server_sees_every_contribution():
    """What the docstring says it does not protect from."""
    vectors = list(np.random.default_rng(0).normal(size=(3, 4)))
    _, _, transcript = summed(vectors, round=5)
    for message, vector in zip(transcript.view("server"), vectors, strict=True):
        assert message.round == 5
        assert np.array_equal(message.payload, vector)


@pytest.mark.parametrize("kind", ["drop", "delay", "tamper", "truncate"])
def test_the_sum_is_of_those_who_answered_and_says_who(kind):
    vectors = [np.array([1.0]), np.array([10.0]), np.array([100.0])]
    total, who, _ = summed(vectors, at_least=2, faults=[Fault(kind, sender="p1")])
    assert (total.tolist(), who) == ([101.0], ("p0", "p2"))


def test_a_repeated_contribution_counts_once():
    total, _, _ = summed([np.ones(2)] * 3, faults=[Fault("duplicate", sender="p1")])
    assert total.tolist() == [3, 3]


@pytest.mark.parametrize("at_least", [None, 1])
def test_a_sum_that_overflows_names_its_contributors(at_least):
    vectors = [np.array([0, 1.7e308]), np.array([1, 1.7e308])]
    with pytest.raises(MalformedMessage, match=r"\['p0', 'p1'\] must be finite") as caught:
        summed(vectors, at_least=at_least)
    assert caught.value.parties == ("p0", "p1")


def test_too_few_answers_name_the_missing():
    with pytest.raises(MissingMessage, match="from 2 of 3 parties, and needs 3") as caught:
        summed([np.ones(2)] * 3, faults=[Fault("drop", sender="p1")])
    assert caught.value.parties == ("p1",)


@pytest.mark.parametrize(
    ("payload", "parties"),
    [
        (None, ("p1",)),
        ([1.0, 2.0], ("p1",)),
        (np.array([1, 2]), ("p1",)),
        (np.array([1.0, np.inf]), ("p1",)),
        (np.ones((1, 2)), ("p1",)),
        (np.ones(3), ("p0", "p1")),
        (np.ones(2, np.float32), ("p0", "p1")),
    ],
)
def test_a_malformed_contribution_names_its_sender(payload, parties):
    with pytest.raises(MalformedMessage, match="'p1'") as caught:
        summed([np.ones(2)] * 3, sent={"p1": payload})
    assert caught.value.parties == parties


def test_a_contributor_does_not_send_what_may_not_be_summed():
    aggregation, group = Plain(), Group("server", ("a",), 0)

    async def server(link):
        """Receives nothing."""

    role = partial(aggregation.contribute, vector=np.array([1.0, np.nan]), group=group)
    with pytest.raises(ValueError, match="'a' must be finite, got nan at index 1"):
        network.run({"a": role, "server": server})
