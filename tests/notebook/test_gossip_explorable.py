"""The mathematics of the explorable ``gossip.js``, run by node and held against numpy.

Readers need no node: their browser runs the script. Where node is missing, this is skipped.
"""

import json
import shutil
import subprocess
from pathlib import Path

import networkx
import numpy as np
import pytest

from refimpl.network import topology

SCRIPT = Path(__file__).parents[2] / "book" / "_static" / "explorables" / "gossip.js"
NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(
    NODE is None, reason="node is missing: the explorable's mathematics was NOT checked"
)

PROGRAM = """
const module = { exports: {} };
new Function("module", require("fs").readFileSync(process.argv[1], "utf8"))(module);
const g = module.exports;
const cases = g.SIZES.flatMap((n) => Object.keys(g.GRAPHS).map((graph) => {
  const weights = g.mixingMatrix(graph, n);
  const starts = Object.fromEntries(Object.keys(g.STARTS).map((start) => {
    let values = g.startValues(start, n);
    const rounds = [values];
    for (let i = 0; i < 40; i += 1) rounds.push(values = g.mix(weights, values));
    return [start, { rounds, spreads: rounds.map(g.spread) }];
  }));
  return { graph, n, edges: g.GRAPHS[graph].edges(n), weights, starts,
           modulus: g.secondModulus(weights), positions: g.positions(graph, n) };
}));
console.log(JSON.stringify(cases));
"""
GRAPHS = ["ring", "ring-without-self", "grid", "random", "complete"]
SIZES = [6, 8, 9, 10, 12, 15, 16, 20, 24]
EVERY = [(graph, size) for graph in GRAPHS for size in SIZES]


@pytest.fixture(scope="module")
def cases():
    run = subprocess.run(
        [NODE, "--eval", PROGRAM, str(SCRIPT)], capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr
    return {(case["graph"], case["n"]): case for case in json.loads(run.stdout)}


def reference_graph(graph, n, edges):
    if graph == "grid":
        rows = max(d for d in range(1, n) if n % d == 0 and d * d <= n)
        return topology.grid(rows, n // rows)
    if graph == "complete":
        return topology.complete(n)
    if graph == "random":
        return networkx.Graph(edges)
    return topology.ring(n)


def test_every_graph_and_size_is_offered(cases):
    assert set(cases) == set(EVERY)


@pytest.mark.parametrize("key", EVERY, ids=str)
def test_graph_weights_and_modulus_are_those_of_the_package(cases, key):
    case = cases[key]
    graph = reference_graph(*key, case["edges"])
    assert len(case["edges"]) == graph.number_of_edges()  # no edge twice
    assert {frozenset(edge) for edge in case["edges"]} == {frozenset(edge) for edge in graph.edges}
    selfless = key[0] == "ring-without-self"
    weights = (topology.neighbour_weights if selfless else topology.metropolis_weights)(graph)
    np.testing.assert_allclose(case["weights"], weights, atol=1e-15)
    exact = np.sort(abs(np.linalg.eigvalsh(weights)))[-2]
    assert case["modulus"] == pytest.approx(exact, abs=1e-12)


@pytest.mark.parametrize("n", SIZES)
def test_random_graph_is_regular_and_connected(cases, n):
    graph = networkx.Graph(cases["random", n]["edges"])
    assert sorted(graph) == list(range(n))
    assert {degree for _, degree in graph.degree} == {4}
    assert networkx.is_connected(graph)


@pytest.mark.parametrize("key", EVERY, ids=str)
def test_rounds_are_powers_of_the_mixing_matrix(cases, key):
    case = cases[key]
    weights = np.array(case["weights"])
    for run in case["starts"].values():
        first = np.array(run["rounds"][0])
        assert first.mean() == pytest.approx(1)
        assert first.std() > 0.3
        exact = [np.linalg.matrix_power(weights, t) @ first for t in range(41)]
        np.testing.assert_allclose(run["rounds"], exact, atol=1e-12)
        np.testing.assert_allclose(run["spreads"], np.std(exact, axis=1), atol=1e-12)
        bound = run["spreads"][0] * case["modulus"] ** np.arange(41)
        assert np.all(np.array(run["spreads"]) <= bound + 1e-12)


@pytest.mark.parametrize("n", SIZES)
def test_only_the_even_ring_without_self_weight_never_agrees(cases, n):
    for graph in GRAPHS:
        never = graph == "ring-without-self" and n % 2 == 0
        assert (cases[graph, n]["modulus"] == 1) == never
        flips = cases[graph, n]["starts"]["alternating"]["spreads"][-1]
        assert (flips == pytest.approx(1)) == never


@pytest.mark.parametrize("key", EVERY, ids=str)
def test_nodes_lie_apart_and_inside_the_drawing(cases, key):
    where = np.array(cases[key]["positions"])
    assert where.min() >= 18 and where.max() <= 342  # a node's radius from the edge of 360
    apart = np.linalg.norm(where[:, None] - where[None], axis=2) + 1e3 * np.eye(len(where))
    assert apart.min() > 2 * 18
