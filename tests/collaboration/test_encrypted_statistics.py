"""A linear model from encrypted sums: against scikit-learn, and against whole numbers."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from refimpl import learning, network
from refimpl.aggregation import Lattice, Paillier, Plain, SecretSharing, ThresholdLattice
from refimpl.collaboration import EncryptedStatistics, TwoServers, direct, two_servers
from refimpl.collaboration.run import Setting
from refimpl.learning import Examples
from refimpl.network import Fault, MalformedMessage, NetworkError
from tests.collaboration.oracles import toy
from tests.he.keys import SAFE_PRIMES_OF_1024_BITS as PRIMES

METHOD = EncryptedStatistics()
AGGREGATIONS = {
    "Lattice": METHOD,
    "Paillier": EncryptedStatistics(aggregation=Paillier(primes=PRIMES)),
    "SecretSharing": EncryptedStatistics(aggregation=SecretSharing(3)),
    "ThresholdLattice": EncryptedStatistics(
        aggregation=ThresholdLattice(length=200), fraction_bits=8, bits=32
    ),
}
every = pytest.mark.parametrize("method", AGGREGATIONS.values(), ids=AGGREGATIONS)


def small(sizes=(5, 9, 14, 7), kind="regression"):
    return two_servers.linear(toy(sizes, kind=kind))


def setting(task):
    names = [*task.participants, "server"]
    return Setting(task, 1, 0, Plain(), None, lambda *_: None, dict.fromkeys(names))


def aggregates_of(task, method):
    """What the server finds."""
    return network.run(method.direct_roles(setting(task))).results["server"]


def rounded(task, method):
    """Everybody's rows of [X Y] in fixed point, as whole numbers."""
    examples, classes = task.pooled(), task.model.objective == "cross-entropy"
    y = np.eye(task.model.outputs)[examples.y] if classes else examples.y[:, None]
    table = np.hstack([examples.x.astype(float), y])
    return [[round(value * 2**method.fraction_bits) for value in row] for row in table.tolist()]


@every
@pytest.mark.parametrize("kind", ["regression", "mlp"])
def test_the_sums_are_exact(method, kind):
    task = small(kind=kind)
    found, table = aggregates_of(task, method), rounded(task, method)
    assert found.rows == len(table) == 35
    assert found.survivors == tuple("abcd")
    assert found.sums.tolist() == [sum(column) for column in zip(*table, strict=True)]
    products = [
        [sum(row[i] * row[j] for row in table) for j in range(len(table[0]))] for i in range(6)
    ]
    assert found.products.tolist() == products


@every
def test_diabetes_is_solved_as_scikit_learn_solves_it(method):
    task = two_servers.linear(learning.diabetes(participants=10))
    run = direct.train(task, method=replace(method, ridge=2.0), rounds=1)
    pooled = task.pooled()
    model = Ridge(alpha=2.0).fit(pooled.x.astype(float), pooled.y)
    weights, intercept = run.parameters[:-1], run.parameters[-1]
    step = 2.0**-method.fraction_bits
    np.testing.assert_allclose(weights, model.coef_, rtol=0, atol=10 * step)
    np.testing.assert_allclose(intercept, model.intercept_, rtol=0, atol=10 * step)
    assert run.accuracy == pytest.approx(model.score(task.test.x, task.test.y), abs=0.01)
    assert run.method == "EncryptedStatistics"


def test_it_is_what_two_servers_find_but_for_rounding():
    task = two_servers.linear(learning.digits(participants=5))
    runs = [
        direct.train(task, method=method, rounds=1) for method in (METHOD, TwoServers(ridge=1.0))
    ]
    assert runs[0].accuracy == pytest.approx(runs[1].accuracy, abs=0.005)


def test_what_travels_is_one_ciphertext_a_participant_and_no_example():
    run = direct.train(small(), method=METHOD, rounds=3)
    seen = run.transcript.view("server")
    assert {m.topic for m in seen} == {"ciphertext", "encrypted sum", "decryption", "model"}
    assert len(seen.select(topic="ciphertext")) == 4
    assert len(seen.select(topic="decryption")) == 1
    assert run.accuracy_by_round == (run.accuracy,) * 3


def test_statistics_of_one_hospital_are_its_own_rows():
    task = small()
    statistics = METHOD.statistics(task.data["b"], task.model)
    x = np.round(task.data["b"].x.astype(float) * 4096) / 4096
    y = np.round(task.data["b"].y * 4096)[:, None] / 4096
    table = np.hstack([x, y])
    expected = [len(x), *table.sum(axis=0), *(x.T @ table).reshape(-1)]
    assert statistics.tolist() == pytest.approx(expected, rel=1e-12)
    assert all(Fraction(value) % Fraction(1, 4**12) == 0 for value in statistics.tolist())


@pytest.mark.parametrize("kind", ["drop", "delay", "duplicate", "truncate", "tamper"])
@pytest.mark.parametrize("topic", ["ciphertext", "encrypted sum", "decryption", "model"])
def test_every_network_fault_ends_in_the_same_model_or_an_error(kind, topic):
    calm = direct.train(small(), method=METHOD)
    for message in calm.transcript.select(topic=topic):
        fault = Fault(kind, message.sender, message.receiver, topic)
        if kind in ("delay", "duplicate"):
            run = direct.train(small(), method=METHOD, faults=[fault])
            assert run.parameters.tobytes() == calm.parameters.tobytes()
            continue
        with pytest.raises(NetworkError) as error:
            direct.train(small(), method=METHOD, faults=[fault])
        assert error.value.parties == (message.sender,)


@pytest.mark.parametrize("kind", ["drop", "delay"])
def test_one_may_be_missing(kind):
    fault = Fault(kind, sender="b", topic="ciphertext")
    run = direct.train(small(), method=METHOD, at_least=3, faults=[fault])
    left = small((5, 9, 14, 7))
    rest = replace(
        left, data={n: e for n, e in left.data.items() if n != "b"}, participants=("a", "c", "d")
    )
    expected = direct.train(rest, method=METHOD)
    assert run.parameters.tobytes() == expected.parameters.tobytes()


# --- refused ------------------------------------------------------------------------------------


def test_sums_that_are_none_name_all():
    task = small()
    right = METHOD.statistics(task.data["a"], task.model)
    for wrong in (
        right[:-1],
        np.append(right, 0.0),
        right * 0,
        np.concatenate([[-1.0], right[1:]]),
        np.concatenate([[5.5], right[1:]]),
        np.concatenate([[5.0, right[1] + 4.0**-12], right[2:]]),
    ):
        with pytest.raises(MalformedMessage, match="their sum is not") as error:
            METHOD.aggregates(wrong, task.model, ["a", "b"])
        assert error.value.parties == ("a", "b")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ridge": -1.0}, "ridge must be finite and at least 0"),
        ({"bits": 49}, "bits must be"),
        ({"fraction_bits": 25}, "fraction_bits must be"),
        ({"aggregation": Plain()}, "aggregation must have a fixed point"),
    ],
)
def test_settings_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        EncryptedStatistics(**options)


def test_what_it_cannot_serve_is_refused():
    with pytest.raises(ValueError, match="EncryptedStatistics fits linear models"):
        direct.train(toy((5, 9, 14), kind="regression"), method=METHOD)
    with pytest.raises(ValueError, match="must be at least 3, got 2"):
        direct.train(small((5, 9)), method=METHOD)
    with pytest.raises(ValueError, match="the modulus would need"):
        direct.train(small(), method=EncryptedStatistics(aggregation=ThresholdLattice()))
    with pytest.raises(ValueError, match=r"must lie in \[-1.99.*\]"):
        direct.train(small(), method=EncryptedStatistics(bits=26, aggregation=Lattice()))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e5])
def test_a_value_whose_square_is_no_exact_double_is_refused(value):
    task = small()
    x = task.data["b"].x.copy()
    x[2, 3] = value
    task = replace(task, data={**task.data, "b": Examples(x, task.data["b"].y)})
    with pytest.raises(ValueError, match=r"must be below 2\^52"):
        direct.train(task, method=METHOD)
