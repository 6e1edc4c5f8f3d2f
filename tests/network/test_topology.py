"""Graphs and mixing matrices, against the eigenvalues that are known in closed form."""

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl.network import topology


@pytest.mark.parametrize("nodes", [3, 4, 5, 8, 31])
def test_the_rings_metropolis_eigenvalues_are_those_of_the_circulant(nodes):
    weights = topology.metropolis_weights(topology.ring(nodes))
    expected = 1 / 3 + 2 / 3 * np.cos(2 * np.pi * np.arange(nodes) / nodes)
    assert np.allclose(np.sort(np.linalg.eigvalsh(weights)), np.sort(expected))
    second = topology.second_eigenvalue_modulus(weights)
    assert second == pytest.approx(np.sort(abs(expected))[-2])


@pytest.mark.parametrize("nodes", [2, 3, 10])
def test_a_complete_graph_agrees_in_one_round(nodes):
    weights = topology.metropolis_weights(topology.complete(nodes))
    assert np.allclose(weights, 1 / nodes)
    assert topology.second_eigenvalue_modulus(weights) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("nodes", "modulus"), [(4, 1), (10, 1), (5, np.cos(np.pi / 5)), (3, 0.5)])
def test_without_self_weight_an_even_ring_never_agrees(nodes, modulus):
    weights = topology.neighbour_weights(topology.ring(nodes))
    assert topology.second_eigenvalue_modulus(weights) == pytest.approx(modulus)
    assert np.all(np.diag(weights) == 0)


def test_a_path_of_three_has_the_weights_of_the_formula():
    weights = topology.metropolis_weights(topology.grid(1, 3))
    third = 1 / 3  # 1 / (1 + max(1, 2))
    assert np.allclose(
        weights, [[2 * third, third, 0], [third, third, third], [0, third, 2 * third]]
    )


@st.composite
def connected_graphs(draw):
    nodes = draw(st.integers(2, 12))
    graph = networkx.path_graph(nodes)
    pairs = st.tuples(st.integers(0, nodes - 1), st.integers(0, nodes - 1))
    graph.add_edges_from(pair for pair in draw(st.lists(pairs)) if pair[0] != pair[1])
    return graph


@given(connected_graphs())
@settings(deadline=None)
def test_metropolis_weights_are_doubly_stochastic_symmetric_and_mix(graph):
    weights = topology.metropolis_weights(graph)
    topology.check_mixing(weights, tolerance=1e-12)
    assert np.array_equal(weights, weights.T)
    adjacency = networkx.to_numpy_array(graph, nodelist=range(len(graph)))
    assert np.array_equal(weights - np.diag(np.diag(weights)) > 0, adjacency > 0)
    assert np.all(np.diag(weights) > 0)
    assert topology.second_eigenvalue_modulus(weights) < 1


@given(connected_graphs(), st.integers(0, 2**32))
@settings(deadline=None)
def test_the_distance_from_the_mean_shrinks_by_the_modulus(graph, seed):
    weights = topology.metropolis_weights(graph)
    values = np.random.default_rng(seed).normal(size=len(graph))
    mixed = weights @ values
    assert mixed.mean() == pytest.approx(values.mean(), abs=1e-9)
    bound = topology.second_eigenvalue_modulus(weights) * np.linalg.norm(values - values.mean())
    assert np.linalg.norm(mixed - mixed.mean()) <= bound + 1e-9


def test_grids_have_the_neighbours_of_a_grid():
    graph = topology.grid(2, 3)  # 0 1 2 over 3 4 5
    assert [topology.neighbours(graph, node) for node in range(6)] == [
        (1, 3),
        (0, 2, 4),
        (1, 5),
        (0, 4),
        (1, 3, 5),
        (2, 4),
    ]
    assert topology.neighbours(topology.ring(5), 0) == (1, 4)


@given(st.integers(2, 4), st.integers(0, 50))
@settings(deadline=None, max_examples=30)
def test_random_regular_graphs_are_regular_connected_and_seeded(degree, seed):
    graph = topology.random_regular(10, degree, seed=seed)
    assert {d for _, d in graph.degree} == {degree}
    assert networkx.is_connected(graph) and set(graph) == set(range(10))
    again = topology.random_regular(10, degree, seed=seed)
    assert set(map(frozenset, graph.edges)) == set(map(frozenset, again.edges))
    topology.check_mixing(topology.neighbour_weights(graph))


def test_another_seed_draws_another_graph():
    edges = {
        frozenset(map(frozenset, topology.random_regular(10, 3, seed=s).edges)) for s in range(9)
    }
    assert len(edges) > 1


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: topology.ring(2), "at least 3, got 2"),
        (lambda: topology.grid(1, 1), "at least 2 nodes, got 1 x 1"),
        (lambda: topology.grid(0, 5), "at least 2 nodes"),
        (lambda: topology.complete(1), "at least 2, got 1"),
        (lambda: topology.random_regular(5, 3, seed=0), "even, got degree=3"),
        (lambda: topology.random_regular(4, 4, seed=0), "between 2 and nodes-1=3"),
        (lambda: topology.random_regular(4, 1, seed=0), "between 2 and nodes-1=3"),
        (lambda: topology.neighbour_weights(topology.grid(1, 3)), "use metropolis_weights"),
        (lambda: topology.metropolis_weights(networkx.Graph([(0, 1), (2, 3)])), "connected"),
        (lambda: topology.metropolis_weights(networkx.Graph([(0, 1), (1, 1)])), "no self-loops"),
        (lambda: topology.metropolis_weights(networkx.Graph([("a", "b")])), "0..1"),
        (lambda: topology.check_mixing(np.ones(3)), "square"),
        (lambda: topology.check_mixing(np.ones((2, 3)) / 3), "square"),
        (lambda: topology.check_mixing(np.ones((0, 0))), "not empty"),
        (lambda: topology.check_mixing(np.array([[2.0, -1], [-1, 2]])), "not negative"),
        (lambda: topology.check_mixing(np.full((2, 2), np.nan)), "finite"),
        (lambda: topology.check_mixing(np.array([[0.5, 0.4], [0.5, 0.5]])), "row 0 sums to 0.9"),
        (
            lambda: topology.check_mixing(np.array([[0.5, 0.5], [0.4, 0.6]])),
            r"column [01] sums to (0.9|1.1)",
        ),
        (lambda: topology.second_eigenvalue_modulus(np.eye(1)), "at least 2 nodes, got 1"),
    ],
)
def test_impossible_graphs_and_matrices_are_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call()
