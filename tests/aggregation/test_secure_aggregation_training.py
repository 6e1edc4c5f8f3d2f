"""Secure aggregation in training: the models of ``Plain``, but for the rounding of fixed point."""

from dataclasses import replace

import numpy as np
import pytest

from refimpl.aggregation import SecAggPlus, SecureAggregation
from refimpl.collaboration import FedAvg, FedSGD, Gossip, indirect, peer_to_peer
from refimpl.network import Fault, topology
from tests.collaboration.oracles import toy

SIZES = (5, 9, 14, 7, 11)
FORM = {"bound": 8.0, "bits": 24}
UNIT = 8.0 / (2**23 - 1)
VERSIONS = {
    "honest-but-curious": SecureAggregation(**FORM),
    "active": SecureAggregation(adversary="active", **FORM),
    "SecAgg+": SecAggPlus(neighbours=2, threshold=2, dropout=0.2, **FORM),
}
every_version = pytest.mark.parametrize("version", VERSIONS)
LOCAL = {"epochs": 1, "batch_size": 4}


@every_version
def test_a_round_of_weighted_averaging_is_off_by_the_rounding_alone(version):
    """Σ a_k w_k and Σ a_k are each off by half a unit a participant, and Σ a_k is at least 1.

    So the mean is off by at most (1 + |mean|) 5/2 units / Σ a_k, and a float32 rounding.
    """
    task, weight = toy(SIZES), sum(SIZES) / max(SIZES)
    plain, secure = (
        indirect.train(task, rounds=1, method=FedAvg(**LOCAL), aggregation=aggregation)
        for aggregation in (None, VERSIONS[version])
    )
    largest = np.abs(plain.parameters).max()
    error = (1 + largest) * 2.5 * UNIT / (weight - 2.5 * UNIT) + 2**-23 * largest
    assert np.abs(secure.parameters - plain.parameters).max() <= error


@every_version
@pytest.mark.parametrize("method", [FedAvg(**LOCAL), FedSGD()], ids=["FedAvg", "FedSGD"])
def test_training_goes_on_with_the_survivors(version, method):
    """One participant too late in round 1, another in round 2, in different phases."""

    def train(aggregation, *topics):
        faults = [
            Fault("drop", sender=name, topic=topic, round=round)
            for name, topic, round in zip(("b", "d"), topics, (1, 2), strict=True)
        ]
        return indirect.train(
            toy(SIZES), rounds=4, method=method, aggregation=aggregation, at_least=4, faults=faults
        )

    plain = train(None, "contribution", "contribution")
    secure = train(VERSIONS[version], "masked vector", "shares")
    assert not secure.errors and len(secure.models) == 5
    assert np.abs(secure.parameters - plain.parameters).max() < 1e-4
    everybody = indirect.train(toy(SIZES), rounds=4, method=method)
    assert np.abs(plain.parameters - everybody.parameters).max() > 1e-3


@every_version
def test_gossip_on_a_complete_graph(version):
    """Each neighbourhood of four is a group of its own, several in one round."""

    def train(aggregation, rounds):
        method = Gossip(graph=topology.complete, **LOCAL)
        return peer_to_peer.train(toy(SIZES), rounds=rounds, method=method, aggregation=aggregation)

    once, again = train(None, 1), train(VERSIONS[version], 1)
    for name, model in once.models.items():
        error = 4 / 2 * UNIT + 2 * 2**-23 * np.abs(model).max()
        assert np.abs(again.models[name] - model).max() <= error
    often, again = train(None, 3), train(VERSIONS[version], 3)
    for name, model in often.models.items():
        assert np.abs(again.models[name] - model).max() < 1e-4


@every_version
def test_gossip_among_two_neighbours_is_refused(version):
    """On a ring a neighbourhood has two contributors, who would know each other's from the sum."""
    with pytest.raises(
        ValueError, match="contributors of a protected sum must be at least 3, got 2"
    ):
        peer_to_peer.train(toy(SIZES), rounds=1, aggregation=VERSIONS[version])


@every_version
def test_a_model_beyond_the_bound_is_an_error_that_says_so(version):
    small = replace(VERSIONS[version], bound=1e-3)
    with pytest.raises(ValueError, match=r"values must lie in \[-0.001, 0.001\]"):
        indirect.train(toy(SIZES), rounds=1, method=FedAvg(**LOCAL), aggregation=small)
