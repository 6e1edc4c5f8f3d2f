"""Two servers fit a linear model: exact aggregates, the clear model, faults, lies and views."""

from dataclasses import replace
from functools import partial
from typing import get_args

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import Ridge

from refimpl import learning, network
from refimpl.arithmetic import randomness
from refimpl.collaboration import TwoServers, direct, two_servers
from refimpl.learning import Examples, Task
from refimpl.network import Fault, MalformedMessage, MissingMessage, NetworkError
from refimpl.network.faults import Kind
from refimpl.smc import additive
from tests.collaboration.oracles import toy

TASKS = {
    "digits": lambda: learning.digits(hidden=()),
    "breast cancer": lambda: learning.breast_cancer(partition="dirichlet", alpha=0.5, hidden=()),
    "diabetes": lambda: learning.diabetes(hidden=()),
}
every_task = pytest.mark.parametrize("name", TASKS)


def small(sizes=(5, 9, 14, 4), kind="mlp"):
    return two_servers.linear(toy(sizes, kind=kind))


def aggregates(task, method=None, **options):
    """What the first server learns."""
    found = two_servers.roles(task, method or TwoServers())
    return network.run(found, **options).results["server"]


def clear(task):
    """X and Y of all participants, as doubles."""
    pooled = task.pooled()
    x, y = pooled.x.astype(np.float64), pooled.y
    if task.kind == "classification":
        return x, np.array([[float(c == label) for c in range(task.model.outputs)] for label in y])
    return x, y.astype(np.float64)[:, None]


def encoded(task, bits):
    """[X Y] in Python's integers, the nearest ones."""
    table = np.hstack(clear(task))
    return [[round(value * 2**bits) for value in row] for row in table.tolist()]


# --- what is opened, and the model ---------------------------------------------------------------


@every_task
@pytest.mark.parametrize("bits", [8, 20])
def test_the_aggregates_are_those_of_the_encodings_to_the_last_bit(name, bits):
    task = TASKS[name]()
    found = aggregates(task, TwoServers(fraction_bits=bits))
    table = np.array(encoded(task, bits), dtype=object)
    assert found.rows == len(table)
    assert found.survivors == task.participants
    assert found.sums.tolist() == table.sum(axis=0).tolist()
    assert found.products.tolist() == (table[:, : task.model.inputs].T @ table).tolist()


def test_the_statistics_are_those_of_the_pooled_examples():
    task = TASKS["diabetes"]()
    found, (x, y) = aggregates(task), clear(task)
    np.testing.assert_allclose(found.mean, np.hstack([x, y]).mean(axis=0), atol=2.0**-21)
    # x is rounded by up to u = 2^-21, its square by 2·|x|·u + u², |x| ≤ 5; the mean's twice
    np.testing.assert_allclose(found.variance, x.var(axis=0), atol=4 * 5 * 2.0**-21)


@every_task
def test_the_model_is_the_clear_one_within_what_the_encoding_may_change(name):
    """Let A, B be the centred columns, A + D and B + E those of the encodings, R = B - A W the
    residual of the clear solution. From AᵀR = ridge·W follows, without approximation,

        W' - W = ((A+D)ᵀ(A+D) + ridge·I)^-1 [Dᵀ R + (A+D)ᵀ (E - D W)],

    hence |W' - W| ≤ |D| |R| / ridge + (|E| + |D| |W|) / (2 sqrt(ridge)), and centring is a
    projection: |D|, |E| ≤ 2^-21 sqrt(entries). To this comes the float32 of each parameter.
    """
    task, ridge = TASKS[name](), 2.0
    run = direct.train(task, rounds=1, method=TwoServers(ridge=ridge))
    x, y = clear(task)
    oracle = Ridge(alpha=ridge, solver="cholesky").fit(x, y)
    weights = np.atleast_2d(oracle.coef_)
    residual = np.linalg.norm(y - oracle.predict(x).reshape(y.shape))
    d = 0.0 if name == "digits" else 2.0**-21 * np.sqrt(x.size)  # pixels are multiples of 1/16
    e = 0.0 if task.kind == "classification" else 2.0**-21 * np.sqrt(y.size)  # 0 and 1
    tolerance = d * residual / ridge + (e + d * np.linalg.norm(weights)) / (2 * np.sqrt(ridge))
    tolerance += 2.0**-24 * np.linalg.norm(weights) + 1e-9  # of the doubles of both solutions
    assert tolerance < 5e-4
    found = run.parameters[: weights.size].reshape(weights.shape)
    assert np.linalg.norm(found - weights) <= tolerance
    # b = mean(y) - W mean(x), whose means are off by 2^-21 at most
    moved = tolerance * np.linalg.norm(x.mean(axis=0)) + 2.0**-21 * (1 + np.abs(weights).sum())
    intercepts = run.parameters[weights.size :]
    assert np.abs(intercepts - oracle.intercept_).max() <= moved + 2.0**-23


@every_task
def test_the_score_is_that_of_scikit_learn(name):
    """Equal accuracy (no test example lies that near a border); R² to 1e-5."""
    task = TASKS[name]()
    run = direct.train(task, rounds=1, method=TwoServers())
    x, y = clear(task)
    oracle = Ridge(alpha=1.0).fit(x, y)
    if task.kind == "regression":
        assert abs(run.accuracy - oracle.score(task.test.x, task.test.y)) < 1e-5
    else:
        guess = oracle.predict(task.test.x).argmax(axis=1)
        assert run.accuracy == (guess == task.test.y).mean()
        assert run.accuracy > 0.9


def test_any_task_becomes_linear_and_keeps_the_rest():
    task = learning.digits(participants=4)
    changed = two_servers.linear(task)
    assert changed.model == learning.mlp(64, (), 10)
    assert (changed.data, changed.test, changed.seed) == (task.data, task.test, task.seed)
    regression = two_servers.linear(learning.diabetes(participants=3)).model
    assert (regression.widths, regression.objective) == ((10, 1), "squared error")


def test_a_run_says_what_it_was():
    task = small()
    run = direct.train(task, rounds=4, method=TwoServers())
    assert (run.approach, run.method, run.rounds) == ("direct", "TwoServers", 4)
    assert run.errors == {} and tuple(run.models) == task.participants
    assert len(run.accuracy_by_round) == 4 and len({*run.accuracy_by_round}) == 1
    assert run.accuracy == task.accuracy(run.parameters)
    assert run.parameters.dtype == np.float32
    once = direct.train(task, rounds=1, method=TwoServers())
    assert once.transcript.bytes == run.transcript.bytes
    assert np.array_equal(once.parameters, run.parameters)
    sizes = direct.train(task, method=TwoServers(), record="sizes").transcript
    assert sizes.bytes == run.transcript.bytes
    assert all(message.payload is None for message in sizes)


def test_numpy_scalars_change_nothing():
    plain = TwoServers(ridge=2.0, fraction_bits=20, bound=16.0)
    scalars = TwoServers(ridge=np.float32(2), fraction_bits=np.int64(20), bound=np.float64(16))
    task = small(kind="regression")
    runs = [direct.train(task, method=method) for method in (plain, scalars)]
    assert np.array_equal(runs[0].parameters, runs[1].parameters)


def test_a_participant_uploads_one_table_and_a_seed():
    """64 bits a value for one server, 16 bytes for the other; the model is all that comes back."""
    task = small()
    transcript = direct.train(task, method=TwoServers()).transcript
    for name, examples in task.data.items():
        table, seed = (m.payload for m in transcript.select(sender=name))
        assert table.nbytes == 8 * len(examples) * (6 + 3)
        assert len(seed) == 16
        assert [m.topic for m in transcript.view(name)] == ["share", "share", "model"]


# --- participants that are missing ---------------------------------------------------------------


@pytest.mark.parametrize("kind", ["drop", "delay", "tamper", "truncate"])
@pytest.mark.parametrize("receiver", ["server", "second server", None])
def test_the_model_is_that_of_those_whose_tables_reached_both_servers(kind, receiver):
    task = small()
    fault = Fault(kind, sender="b", receiver=receiver, topic="share")
    run = direct.train(task, method=TwoServers(), at_least=3, faults=[fault])
    without = direct.train(task.restrict("a", "c", "d"), method=TwoServers())
    assert np.array_equal(run.parameters, without.parameters)
    assert sorted(run.models) == ["a", "b", "c", "d"] and run.errors == {}
    whole = direct.train(task, method=TwoServers())
    assert not np.array_equal(run.parameters, whole.parameters)


def test_a_different_table_missing_at_each_server():
    task = small((5, 9, 14, 4, 6))
    faults = [Fault("drop", "b", "server"), Fault("drop", "d", "second server")]
    run = direct.train(task, method=TwoServers(), at_least=3, faults=faults)
    rest = direct.train(task.restrict("a", "c", "e"), method=TwoServers())
    assert np.array_equal(run.parameters, rest.parameters)
    with pytest.raises(MissingMessage, match=r"from 4 participants, got 3. .*'b', 'd'") as caught:
        direct.train(task, method=TwoServers(), at_least=4, faults=faults)
    assert caught.value.parties == ("b", "d")


def test_too_few_tables_name_the_missing():
    lost = [Fault("drop", sender=name, topic="share") for name in "bc"]
    with pytest.raises(MissingMessage, match="from 2 of 4 parties, and needs 3") as caught:
        direct.train(small(), method=TwoServers(), at_least=3, faults=lost)
    assert caught.value.parties == ("b", "c")


@pytest.mark.parametrize("at_least", [1, 2, 5, 3.5])
def test_fewer_than_three_tables_are_never_added_up(at_least):
    with pytest.raises(ValueError, match="at_least"):
        direct.train(small(), method=TwoServers(), at_least=at_least)
    with pytest.raises(ValueError, match="contributors of a protected sum must be at least 3"):
        direct.train(small((5, 9)), method=TwoServers())


# --- faults of the network -----------------------------------------------------------------------

PHASES = {
    "triple": ["dealer"],
    "share": ["a", "b", "c", "d"],
    "received": ["server", "second server"],
    "differences": ["server", "second server"],
    "opening": ["second server"],
    "model": ["server"],
}


def test_every_phase_is_struck():
    transcript = direct.train(small(), method=TwoServers()).transcript
    sent = {(m.topic, m.sender) for m in transcript}
    assert sent == {(topic, sender) for topic, senders in PHASES.items() for sender in senders}


@pytest.mark.parametrize("kind", get_args(Kind))
@pytest.mark.parametrize(
    ("topic", "sender"),
    [
        (topic, who)
        for topic, senders in PHASES.items()
        for who in dict.fromkeys([*senders[:1], senders[-1], None])
    ],
)
def test_a_fault_ends_in_the_exact_model_or_an_error_that_names_the_sender(topic, sender, kind):
    """All messages of a phase, of one sender or of all."""
    task, fault = small(), Fault(kind, sender=sender, topic=topic)
    if kind in ("delay", "duplicate"):
        run = direct.train(task, method=TwoServers(), faults=[fault])
        calm = direct.train(task, method=TwoServers())
        assert np.array_equal(run.parameters, calm.parameters) and run.errors == {}
        return
    with pytest.raises(NetworkError) as caught:
        direct.train(task, method=TwoServers(), faults=[fault])
    blamed = PHASES[topic] if sender is None else [sender]
    assert {*caught.value.parties} and {*caught.value.parties} <= {*blamed}
    assert type(caught.value).__name__ == (
        "MissingMessage" if kind == "drop" else "TamperedMessage"
    )


def test_every_single_message_matters():
    task = small()
    for message in direct.train(task, method=TwoServers()).transcript:
        fault = Fault("drop", message.sender, message.receiver, message.topic, message.round)
        with pytest.raises(NetworkError, match="was lost") as caught:
            direct.train(task, method=TwoServers(), faults=[fault])
        assert caught.value.parties == (message.sender,)
        assert caught.value.__notes__ == [f"raised in the role of {message.receiver!r}"]


def test_a_participant_that_the_model_does_not_reach_is_reported():
    deaf = [Fault("drop", receiver="b")]
    run = direct.train(small(), method=TwoServers(), at_least=4, faults=deaf)
    assert list(run.errors) == ["b"] and sorted(run.models) == ["a", "c", "d"]


# --- messages that hold something else, and lies --------------------------------------------------


async def say(link, messages):
    for receiver, topic, payload in messages:
        await link.send(receiver, topic, payload)


def table_of(task, name="b", method=None):
    return (method or TwoServers()).table(task.data[name], task.model)


@pytest.mark.parametrize("receiver", ["server", "second server"])
@pytest.mark.parametrize(
    "payload",
    [
        None,
        b"too short",
        [1, 2],
        np.zeros((9, 8), np.uint64),
        np.zeros((8, 9), np.uint64),
        np.zeros((9, 9)),
        np.zeros((9, 9), np.int64),
        np.zeros((1, 9, 9), np.uint64),
    ],
)
def test_a_malformed_upload_names_its_sender(receiver, payload):
    task = small()
    good = np.zeros((9, 9), np.uint64)
    lines = [
        (name, "share", payload if name == receiver else good)
        for name in ("server", "second server")
    ]
    found = {**two_servers.roles(task, TwoServers()), "b": partial(say, messages=lines)}
    with pytest.raises(MalformedMessage, match="'b' must upload uint64") as caught:
        network.run(found)
    assert caught.value.parties == ("b",)


@pytest.mark.parametrize("payload", [None, "ab", ["a", "a", "b"], ["a", "zoe"], ["a", 3], [["a"]]])
@pytest.mark.parametrize("liar", ["server", "second server"])
def test_a_malformed_list_of_names_names_its_sender(liar, payload):
    found = two_servers.roles(small(), TwoServers())
    other = ({"server", "second server"} - {liar}).pop()
    found[liar] = partial(say, messages=[(other, "received", payload)])
    with pytest.raises(MalformedMessage, match=f"'{liar}' must send names") as caught:
        network.run(found)
    assert caught.value.parties == (liar,)


def test_a_table_that_is_a_lie_is_not_detected():
    """Honest-but-curious: the label of every patient of b exchanged for another."""
    task = small()
    found = two_servers.roles(task, TwoServers())
    lie = Examples(task.data["b"].x, (task.data["b"].y + 1) % 3)
    changed = replace(task, data={**task.data, "b": lie})
    found["b"] = two_servers.roles(changed, TwoServers())["b"]
    outcome = network.run(found)
    assert outcome.errors == {}
    assert outcome.results["server"].products.tolist() == aggregates(changed).products.tolist()
    assert outcome.results["server"].products.tolist() != aggregates(task).products.tolist()


def test_a_share_falsified_by_the_second_server_is_not_detected():
    class Liar:
        def __init__(self, link):
            self.link, self.name = link, link.name

        def __getattr__(self, name):
            return getattr(self.link, name)

        async def broadcast(self, receivers, topic, payload):
            if topic == "opening":
                payload = {"share": payload["share"] + np.uint64(1 << 20)}
            await self.link.broadcast(receivers, topic, payload)

    task = small()
    found = two_servers.roles(task, TwoServers())
    honest = found["second server"]
    outcome = network.run({**found, "second server": lambda link: honest(Liar(link))})
    assert outcome.errors == {}
    assert (outcome.results["server"].sums - aggregates(task).sums).tolist() == [1 << 20] * 9


# --- what is seen ---------------------------------------------------------------------------------


def views(value, seed):
    """The words that each server receives from others; all inputs of participants equal value."""
    x = np.full((4096, 2), value, np.float32)
    examples = Examples(x, np.zeros(4096, np.float32))
    model = learning.mlp(2, (), 1, objective="squared error")
    data = dict.fromkeys("abc", examples)
    task = Task("constant", model, ("a", "b", "c"), data, examples.take(np.arange(2)), 0)
    transcript = network.run(two_servers.roles(task, TwoServers(fraction_bits=10))).transcript
    for server in ("server", "second server"):
        received = transcript.select(receiver=server)
        words = []
        for message in received:
            payload = message.payload
            if isinstance(payload, bytes):
                payload = additive.expand(payload, (4096, 3))
            arrays = payload.values() if isinstance(payload, dict) else [payload]
            if message.topic != "opening":
                words += [(message, array) for array in arrays if isinstance(array, np.ndarray)]
        yield server, received, words


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_what_a_server_receives_before_the_opening_is_uniform(value, monkeypatch):
    """Chi-square over the lowest four and highest four bits of each array, whatever the patients.

    Chance failure 1e-8 for each of at most 60 tests. Power: any array with 8,000 words that
    lacks a mask, or one bit of it, empties half of the 16 cells.
    """
    seeds = iter(range(100))
    monkeypatch.setattr(randomness, "secure", lambda: randomness.seeded(next(seeds), str(value)))
    for server, received, words in views(value, 0):
        topics = {"triple", "share", "received", "differences"}
        topics |= {"opening"} if server == "server" else set()
        assert {m.topic for m in received} == topics
        for _, array in words:
            if array.size < 1000:
                continue  # the triples' c, of few words: they are masked like a and b
            for shift in (0, 60):
                cells = (array.reshape(-1) >> np.uint64(shift)).astype(np.int64) & 15
                counts = np.bincount(cells, minlength=16)
                assert stats.chisquare(counts).pvalue > 1e-8


def test_no_secret_is_used_twice():
    """Shares, seeds and triples of all participants and of two runs: no two begin alike."""
    task = small()
    seen = []
    for _ in range(2):
        for message in network.run(two_servers.roles(task, TwoServers())).transcript:
            if message.topic in ("share", "triple"):
                payload = message.payload
                arrays = payload.values() if isinstance(payload, dict) else [payload]
                seen += [
                    array[:8] if isinstance(array, bytes) else array.tobytes()[:8]
                    for array in arrays
                ]
    assert len(seen) == 2 * 4 * (2 + 2 * 3) == len({*seen})


def test_the_dealer_hears_nothing_and_the_second_server_opens_nothing():
    transcript = direct.train(small(), method=TwoServers()).transcript
    assert {m.sender for m in transcript.view("dealer")} == {"dealer"}
    assert {m.receiver for m in transcript.select(topic="opening")} == {"server"}


def test_two_servers_that_collude_read_every_example():
    task = small()
    view = network.run(two_servers.roles(task, TwoServers())).transcript.view(
        "server", "second server"
    )
    for name in task.participants:
        first, second = (m.payload for m in view.select(sender=name, topic="share"))
        table = first + additive.expand(second, first.shape)
        assert np.array_equal(table, table_of(task, name))


def test_all_others_and_the_first_server_read_a_hospital_of_one_patient():
    """What the aggregates leak by themselves: they are a sum, and all other summands are known."""
    task = small((5, 9, 1, 4))
    found = aggregates(task)
    others = [TwoServers().table(task.data[name], task.model) for name in "abd"]
    rest = found.sums.view(np.uint64) - sum(table.sum(axis=0, dtype=np.uint64) for table in others)
    assert np.array_equal(rest, table_of(task, "c")[0])


def test_a_role_is_handed_its_own_examples_and_nobody_elses():
    task = small()
    for name, role in two_servers.roles(task, TwoServers()).items():
        held = role.keywords.get("examples")
        assert held is task.data.get(name)
        assert not any(isinstance(value, Task) for value in role.keywords.values())


# --- bad input ------------------------------------------------------------------------------------


def test_a_value_beyond_the_bound_is_refused_by_its_owner():
    task = small()
    with pytest.raises(ValueError, match=r"values must lie in \[-1.0, 1.0\], got") as caught:
        direct.train(task, method=TwoServers(bound=1.0))
    assert caught.value.__notes__ == ["raised in the role of 'a'"]


def test_not_a_number_is_refused_by_its_owner():
    task = small()
    x = task.data["b"].x.copy()
    x[3, 2] = np.nan
    task = replace(task, data={**task.data, "b": Examples(x, task.data["b"].y)})
    with pytest.raises(ValueError, match=r"got nan at index \(3, 2\)") as caught:
        direct.train(task, method=TwoServers())
    assert caught.value.__notes__ == ["raised in the role of 'b'"]


def test_a_sum_that_would_not_fit_is_refused_before_anything_is_sent():
    method = TwoServers(fraction_bits=26, bound=8.0)  # (2^29)² = 2^58: up to 31 rows
    direct.train(small((5, 9, 14, 3)), method=method)
    with pytest.raises(ValueError, match=r"below 2\^63, got rows=32, bound=8.0, fraction_bits=26"):
        direct.train(small((5, 9, 14, 4)), method=method)


def test_the_largest_sum_that_fits_is_exact():
    """31 rows of 8.0 everywhere, 2^58 each: one row more would change the sign."""
    x = np.full((31, 2), 8.0, np.float32)
    parts = {name: Examples(x[:n], x[:n, 0]) for name, n in (("a", 10), ("b", 10), ("c", 11))}
    model = learning.mlp(2, (), 1, objective="squared error")
    task = Task("largest", model, tuple(parts), parts, parts["a"], 0)
    found = aggregates(task, TwoServers(fraction_bits=26, bound=8.0))
    assert found.products.tolist() == [[31 * 2**58] * 3] * 2
    assert found.variance.tolist() == [0, 0]


def test_constant_columns_need_a_penalty():
    task = TASKS["digits"]()  # some pixels are never inked
    with pytest.raises(ValueError, match="take a larger ridge") as caught:
        direct.train(task, rounds=1, method=TwoServers(ridge=0))
    assert caught.value.__notes__ == ["raised in the role of 'server'"]


def test_a_model_that_is_not_linear_is_refused():
    for task in (toy((4, 4, 4)), toy((4, 4, 4), kind="cnn")):
        with pytest.raises(ValueError, match=r"linear models, .* two_servers.linear\(task\)"):
            direct.train(task, method=TwoServers())


@pytest.mark.parametrize("taken", ["second server", "dealer"])
def test_names_of_the_servers_are_taken(taken):
    task = small((4, 4, 4))
    data = {"a": task.data["a"], "b": task.data["b"], taken: task.data["c"]}
    task = replace(task, participants=tuple(sorted(data)), data=data)
    with pytest.raises(ValueError, match="participants must have other names"):
        direct.train(task, method=TwoServers())


@pytest.mark.parametrize(
    "wrong",
    [
        {"ridge": -1.0},
        {"ridge": np.nan},
        {"ridge": np.inf},
        {"bound": 0.0},
        {"bound": np.nan},
        {"bound": np.inf},
        {"fraction_bits": -1},
        {"fraction_bits": 2.5},
        {"fraction_bits": 32},
        {"fraction_bits": 30, "bound": 4.0},
    ],
)
def test_impossible_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match="|".join(wrong)):
        TwoServers(**wrong)
