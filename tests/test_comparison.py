import math
import statistics
from functools import partial

import pytest

from refimpl import comparison, learning
from refimpl.aggregation import (
    Lattice,
    Paillier,
    SecretSharing,
    SecureAggregation,
    ThresholdLattice,
)
from refimpl.arithmetic import randomness
from refimpl.collaboration import (
    Central,
    EncryptedStatistics,
    FedAvg,
    Gossip,
    PrivateLogisticRegression,
    TwoServers,
    direct,
    indirect,
    peer_to_peer,
    two_servers,
)
from refimpl.he import paillier
from refimpl.learning import (
    CentralGaussian,
    DistributedGaussian,
    LocalDP,
    LocalGaussian,
    RecordDP,
)
from refimpl.network import topology
from refimpl.notebook import measured
from tests.collaboration.oracles import toy
from tests.he.keys import SAFE_PRIMES_OF_1024_BITS as PRIMES


@pytest.fixture(autouse=True)
def a_known_paillier_key(monkeypatch):
    """A key and its table of noise take longest to make; no number depends on them."""

    def keypair(bits, encoding, noise, rng):
        return paillier.keypair_of(*PRIMES, encoding, noise=noise, rng=randomness.seeded(0))

    monkeypatch.setattr(paillier, "generate_keypair", keypair)


def rows():
    """Each row of the matrix for four participants, trained by hand: train, method, what else.

    ``privacy`` is a function of the seed; ``linear`` says that the model is.
    """
    gossip = {"graph": topology.complete}
    shared, masked = SecretSharing(), SecureAggregation(bound=16.0)
    once = {"rounds": 1, "linear": True}
    records = partial(RecordDP, noise_multiplier=1.18)
    one_pass = {"learning_rate": 1.0, "epochs": 1}
    small = {"clipping_norm": 0.3}

    def logistic(seed):
        return PrivateLogisticRegression(epsilon=8.0, data_norm=6**0.5 / 2, ridge=30.0, seed=seed)

    def noisy(seed):
        return LocalDP(epsilon_features=7.0, epsilon_label=1.0, low=-3.0, high=3.0, seed=seed)

    central = partial(CentralGaussian, noise_multiplier=2.7, **small)
    parts = partial(DistributedGaussian, noise_multiplier=2.85, **small)
    own = partial(LocalGaussian, noise_multiplier=2.7, **small)
    large = Central(learning_rate=0.5, batch_size=64)
    pooled = partial(RecordDP, noise_multiplier=0.9)
    fine = SecureAggregation(bound=16.0, bits=24)
    steps, uploads = FedAvg(**one_pass), Central(learning_rate=0.001)
    return {
        ("direct", "none"): (direct.train, Central(), {}),
        ("direct", "two servers"): (direct.train, TwoServers(), once),
        ("direct", "Paillier"): (direct.train, EncryptedStatistics(aggregation=Paillier()), once),
        ("direct", "DP-SGD"): (direct.train, large, {"privacy": pooled}),
        ("direct", "noisy loss"): (direct.train, logistic, once),
        ("direct", "noisy uploads"): (direct.train, uploads, {"privacy": noisy}),
        ("indirect", "none"): (indirect.train, FedAvg(), {}),
        ("indirect", "shares"): (indirect.train, FedAvg(), {"aggregation": shared}),
        ("indirect", "masks"): (indirect.train, FedAvg(), {"aggregation": masked}),
        ("indirect", "Paillier"): (indirect.train, FedAvg(), {"aggregation": Paillier()}),
        ("indirect", "lattice"): (indirect.train, FedAvg(), {"aggregation": Lattice()}),
        ("indirect", "threshold lattice"): (
            indirect.train,
            FedAvg(),
            {"aggregation": ThresholdLattice()},
        ),
        ("indirect", "DP-SGD"): (indirect.train, steps, {"privacy": records}),
        ("indirect", "server noise"): (indirect.train, FedAvg(), {"privacy": central}),
        ("indirect", "masks, noise"): (
            indirect.train,
            FedAvg(),
            {"privacy": parts, "aggregation": fine},
        ),
        ("peer-to-peer", "none"): (peer_to_peer.train, Gossip(**gossip), {}),
        ("peer-to-peer", "shares"): (peer_to_peer.train, Gossip(**gossip), {"aggregation": shared}),
        ("peer-to-peer", "masks"): (peer_to_peer.train, Gossip(**gossip), {"aggregation": masked}),
        ("peer-to-peer", "threshold lattice"): (
            peer_to_peer.train,
            Gossip(**gossip),
            {"aggregation": ThresholdLattice()},
        ),
        ("peer-to-peer", "DP-SGD"): (
            peer_to_peer.train,
            Gossip(**gossip, **one_pass),
            {"privacy": records},
        ),
        ("peer-to-peer", "own noise"): (peer_to_peer.train, Gossip(**gossip), {"privacy": own}),
    }


def by_hand(task, train, method, options, seed):
    """One run of one row."""
    options = {"rounds": 4, **options}
    mine = two_servers.linear(task) if options.pop("linear", False) else task
    if "privacy" in options:
        options["privacy"] = options["privacy"](seed=seed)
    method = method(seed) if callable(method) else method
    return train(mine, method=method, seed=seed, **options)


def test_a_row_for_each_topology_with_what_its_runs_measured():
    task = toy((5, 9, 14, 6))
    table = comparison.matrix(lambda seed: task, rounds=4, seeds=(3, 5))
    assert table.index.tolist() == list(rows())
    assert table.columns.tolist() == [
        "method",
        "protects",
        "epsilon",
        "accuracy",
        "spread",
        "bytes sent",
        "bytes received",
        "messages",
        "rounds",
    ]
    for key, (train, method, options) in rows().items():
        row = table.loc[key]
        runs = [by_hand(task, train, method, options, seed) for seed in (3, 5)]
        scores = [run.accuracy for run in runs]
        assert row["accuracy"] == pytest.approx(statistics.fmean(scores)), key
        assert row["spread"] == pytest.approx(abs(scores[0] - scores[1]))
        sent, received = runs[0].transcript.bytes_sent(), runs[0].transcript.bytes_received()
        people = task.participants  # the server's own bytes are not a participant's
        assert row["bytes sent"] == round(sum(sent[name] for name in people) / 4)
        assert row["bytes received"] == round(sum(received[name] for name in people) / 4)
        assert row["messages"] == len(runs[0].transcript)
        assert row["rounds"] == options.get("rounds", 4)
        if row["protects"]:
            assert row["epsilon"] == runs[0].epsilon(1e-5)
        else:
            assert math.isnan(row["epsilon"])
            with pytest.raises(ValueError, match="no epsilon holds"):
                runs[0].epsilon(1e-5)
    assert table["method"].tolist() == [
        *("central SGD", "least squares", "least squares", "central SGD", "linear", "central SGD"),
        *("FedAvg",) * 9,
        *("gossip",) * 6,
    ]
    assert table["protects"].tolist() == [
        *("", "", "", "record", "record", "record"),
        *("", "", "", "", "", "", "record", "participant", "participant"),
        *("", "", "", "", "record", "participant"),
    ]


def test_no_row_diverges_on_any_data_set():
    """With the learning rate for classes, regression diverges or explains nothing."""
    table = comparison.matrix(
        lambda seed: learning.diabetes(participants=10, seed=seed), rounds=5, seeds=[0]
    )
    plain = table[table["protects"] == ""]
    assert plain["accuracy"].min() > 0.3  # R²; least squares in one place reaches 0.44
    assert len(plain) == 13
    private = table[table["protects"] != ""]["accuracy"]
    assert private.drop("own noise", level=1).min() > 0
    assert math.isfinite(private.loc["peer-to-peer", "own noise"])  # noise alone, on ten
    assert {"noisy loss", "noisy uploads"}.isdisjoint(table.index.get_level_values(1))


@pytest.mark.parametrize(("nodes", "degree"), [(4, 3), (5, 4), (6, 4), (10, 4), (25, 4)])
def test_gossip_runs_where_a_protected_sum_has_three_contributors(nodes, degree):
    graph = comparison.four_neighbours(nodes)
    assert [graph.degree(node) for node in range(nodes)] == [degree] * nodes


def test_rows_come_with_the_median_seconds_of_their_runs(monkeypatch):
    """No clock is read here: the runs are made to say what they took."""
    run = direct.train(toy(), rounds=1)
    seconds = {0: 5.0, 1: 1.0, 2: 2.0}

    def train(task, *, rounds, seed, record):
        assert record == "sizes"
        object.__setattr__(run, "seconds", seconds[seed])
        return type(run)(**vars(run))

    entry = comparison.Entry("star", "magic", "wand", train)
    monkeypatch.setattr(comparison, "entries", lambda: (entry,))
    [(row, took)] = comparison.measure(lambda seed: toy(), rounds=1)
    assert took == 2.0
    assert (row["topology"], row["technique"], row["method"]) == ("star", "magic", "wand")
    assert "seconds" not in row


def test_progress_wraps_the_entries_and_may_see_each_done():
    seen = []

    def progress(entries):
        for entry in entries:
            seen.append(entry.topology)
            yield entry

    comparison.matrix(lambda seed: toy((5,) * 4), rounds=1, seeds=[0], progress=progress)
    assert seen == [topology for topology, _ in rows()]


def test_ten_hospitals_with_digits_are_the_default(monkeypatch):
    asked = []

    def digits(**options):
        asked.append(options)
        return toy((5,) * 4)

    monkeypatch.setattr(learning, "digits", digits)
    comparison.matrix(rounds=1, seeds=[0, 4])
    assert asked == [{"participants": 10, "seed": 0}, {"participants": 10, "seed": 4}]


def test_each_seed_draws_its_own_data():
    sizes = (5, 9, 14, 6)
    drawn = comparison.matrix(lambda seed: toy(sizes, seed=seed), rounds=2, seeds=(1, 2))
    runs = [direct.train(toy(sizes, seed=seed), rounds=2, seed=seed) for seed in (1, 2)]
    mean = statistics.fmean(run.accuracy for run in runs)
    assert drawn.loc[("direct", "none"), "accuracy"] == pytest.approx(mean)
    assert runs[0].accuracy != runs[1].accuracy  # so that one draw for both would show


def test_no_seed_is_an_error():
    with pytest.raises(ValueError, match="seeds must hold at least one seed, got none"):
        comparison.matrix(lambda seed: toy(), seeds=[])


def test_the_recorded_matrix_is_what_this_code_measures():
    """The front page shows the record. Accuracy may differ a little between processors."""
    recorded = measured("matrix")
    assert (recorded["data"], recorded["participants"]) == ("digits", 10)
    fresh = [
        row
        for row, _ in comparison.measure(rounds=recorded["rounds"], seeds=range(recorded["seeds"]))
    ]
    assert len(fresh) == len(recorded["rows"]), "run `make matrix`"
    for row, held in zip(fresh, recorded["rows"], strict=True):
        for close in ("accuracy", "spread"):
            assert row.pop(close) == pytest.approx(held.pop(close), abs=0.01)
        assert (row.pop("epsilon") or 0) == pytest.approx(held.pop("epsilon") or 0, rel=1e-3)
        del held["seconds"]
        assert row == held, "run `make matrix`"
