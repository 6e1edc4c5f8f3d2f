import numpy as np
import pytest

from refimpl import aggregation, network
from refimpl.aggregation import Group, Plain, SecretSharing, SecureAggregation
from refimpl.aggregation.interface import check_alike, check_protected, check_vector
from refimpl.arithmetic import randomness
from refimpl.network import MalformedMessage


@pytest.mark.parametrize("at_least", [None, 1, 3, np.int64(3)])
def test_a_group_is_a_collector_and_its_contributors(at_least):
    group = Group("server", ("a", "b", "c"), 4, at_least)
    assert (group.collector, group.contributors, group.round) == ("server", ("a", "b", "c"), 4)
    assert group.at_least == at_least
    assert group.needed == (at_least or 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("server", (), 0), r"one or more different names, got \(\)"),
        (("server", ("a", "a"), 0), r"different names, got \('a', 'a'\)"),
        (("a", ("a", "b"), 0), "the collector 'a' must not be among the contributors"),
        (("server", ("a", "b"), 0, 0), "between 1 and contributors=2, got 0"),
        (("server", ("a", "b"), 0, 3), "between 1 and contributors=2, got 3"),
        (("server", ("a", "b"), 0, 1.5), "at_least must be a whole number .* got 1.5"),
        (("server", ("a", "b"), 0, True), "at_least must be a whole number .* got True"),
        (("server", "abc", 0), "must be a tuple of one or more different names, got 'abc'"),
        (("server", ("a", 1), 0), r"different names, got \('a', 1\)"),
        (("server", (["a"],), 0), r"different names, got \(\['a'\],\)"),
        (("server", ("a",), "x"), "round must be a whole number of at least 0, got 'x'"),
        (("server", ("a",), True), "round must be a whole number of at least 0, got True"),
        (("server", ("a",), -1), "round must be a whole number of at least 0, got -1"),
    ],
)
def test_a_group_that_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Group(*arguments)


@pytest.mark.parametrize(
    ("count", "at_least", "threshold"),
    [(3, None, 1), (3, 3, 3), (5, 3, 2), (5, 4, 4), (5, None, 5)],
)
def test_a_group_that_a_protected_sum_can_serve(count, at_least, threshold):
    check_protected(Group("server", tuple("abcde"[:count]), 0, at_least), threshold)


@pytest.mark.parametrize(
    ("count", "at_least", "threshold", "message"),
    [
        (1, None, 1, "contributors of a protected sum must be at least 3, got 1 in the group of"),
        (2, None, 1, "at least 3, got 2 in the group of collector 'server': .*aggregation.Plain"),
        (3, None, 4, "threshold must be at most contributors=3 .*'server', got 4"),
        (5, 2, 1, "at_least must be between 3 and contributors=5 .*'server', got 2"),
        (5, 3, 4, "at_least must be between 4 and contributors=5 .* got 3: .*threshold=4"),
    ],
)
def test_a_group_whose_sum_would_give_somebody_away_is_refused(count, at_least, threshold, message):
    group = Group("server", tuple("abcde"[:count]), 0, at_least)
    with pytest.raises(ValueError, match=message):
        check_protected(group, threshold)
    Plain().check(group)  # which protects nothing


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_finite_float_vector_passes_as_it_is(dtype):
    vector = np.array([1, -2.5, 0], dtype)
    assert check_vector(vector, owner="a") is vector


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        ([1.0, 2.0], "the vector of 'a' must be a float array of one dimension, got list"),
        (np.ones((2, 3)), r"'a' must be .* got ndarray of shape \(2, 3\)"),
        (np.ones(()), r"'a' must be .* of shape \(\)"),
        (np.ones(3, int), "'a' must be a float array"),
        (np.array([0, 1, np.inf, np.nan]), "'a' must be finite, got inf at index 2"),
        (np.array([np.nan, 1]), "'a' must be finite, got nan at index 0"),
    ],
)
def test_any_other_vector_is_refused_by_its_owners_name(vector, message):
    with pytest.raises(ValueError, match=message):
        check_vector(vector, owner="a")


@pytest.mark.parametrize(
    ("other", "found"),
    [(np.ones(3), r"float64 of shape \(3,\)"), (np.ones(2, "f4"), r"float32 of shape \(2,\)")],
)
def test_unlike_vectors_name_those_who_differ(other, found):
    check_alike({"a": np.ones(2), "b": np.zeros(2)})
    message = rf"'a' sent float64 of shape \(2,\), 'c' sent {found}"
    with pytest.raises(MalformedMessage, match=message) as caught:
        check_alike({"a": np.ones(2), "b": np.ones(2), "c": other})
    assert caught.value.parties == ("a", "c")


@pytest.mark.parametrize("protocol", [Plain(), SecretSharing(), SecureAggregation(bound=16.0)])
def test_roles_make_one_sum(protocol):
    vectors = {name: np.array([float(place), 1.0]) for place, name in enumerate("cab")}
    roles = aggregation.roles(protocol, vectors, collector="d", round=5)
    assert sorted(roles) == ["a", "b", "c", "d"]
    outcome = network.run(roles)
    total, who = outcome.results["d"]
    np.testing.assert_allclose(total, [3, 3], atol=1e-3)
    assert who == ("a", "b", "c")
    assert {message.round for message in outcome.transcript} == {5}


def test_roles_hand_on_how_many_are_enough_and_where_secrets_come_from():
    vectors = {name: np.ones(2) for name in "abc"}
    lost = network.Fault("drop", sender="a")
    outcome = network.run(aggregation.roles(Plain(), vectors, at_least=2), faults=[lost])
    assert outcome.results["server"][1] == ("b", "c")
    said = [
        [
            message.payload
            for message in network.run(
                aggregation.roles(SecretSharing(), vectors, rng=randomness.seeded(0))
            ).transcript
        ]
        for _ in range(2)
    ]
    assert repr(said[0]) == repr(said[1])


def test_roles_of_a_group_that_cannot_be_protected_are_refused():
    with pytest.raises(ValueError, match="at least 3, got 2"):
        aggregation.roles(SecretSharing(), {name: np.ones(2) for name in "ab"})
