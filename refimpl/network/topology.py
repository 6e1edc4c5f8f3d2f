"""Who is whose neighbour: graphs over the parties, and the weights they mix with.

Graphs are undirected ``networkx`` graphs with nodes 0..n-1. A mixing matrix W (n × n) is doubly
stochastic: W[i, j] is the weight that node i gives to what node j sent, rows and columns sum
to 1, so that gossip x ← W x keeps the mean. Its second-largest eigenvalue modulus sets how fast
the nodes agree: the distance from the mean shrinks by at least that factor a round
(Xiao and Boyd, "Fast linear iterations for distributed averaging", 2004).
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import networkx


def ring(nodes: int) -> "networkx.Graph":
    """Each node beside two others, in a circle; ``nodes`` ≥ 3."""
    import networkx

    if nodes < 3:
        raise ValueError(f"nodes of a ring must be at least 3, got {nodes}")
    return networkx.cycle_graph(nodes)


def grid(rows: int, columns: int) -> "networkx.Graph":
    """``rows`` × ``columns`` nodes, each beside those above, below, left and right of it."""
    import networkx

    if rows < 1 or columns < 1 or rows * columns < 2:
        raise ValueError(f"a grid must have at least 2 nodes, got {rows} x {columns}")
    return networkx.convert_node_labels_to_integers(
        networkx.grid_2d_graph(rows, columns), ordering="sorted"
    )


def complete(nodes: int) -> "networkx.Graph":
    """Each node beside every other; ``nodes`` ≥ 2."""
    import networkx

    if nodes < 2:
        raise ValueError(f"nodes of a complete graph must be at least 2, got {nodes}")
    return networkx.complete_graph(nodes)


def random_regular(nodes: int, degree: int, *, seed: int) -> "networkx.Graph":
    """A connected random graph in which each node has ``degree`` neighbours.

    ``nodes * degree`` must be even and 2 ≤ ``degree`` < ``nodes``. Drawn anew until connected.
    """
    import networkx

    if not 2 <= degree < nodes or nodes * degree % 2:
        raise ValueError(
            f"degree must be between 2 and nodes-1={nodes - 1} with nodes * degree even, "
            f"got degree={degree}"
        )
    rng = np.random.default_rng(seed)
    while True:
        graph = networkx.random_regular_graph(degree, nodes, seed=rng)
        if networkx.is_connected(graph):
            return networkx.convert_node_labels_to_integers(graph, ordering="sorted")


def neighbours(graph: "networkx.Graph", node: int) -> tuple[int, ...]:
    """The neighbours of ``node``, in order, without itself."""
    return tuple(sorted(other for other in graph[node] if other != node))


def metropolis_weights(graph: "networkx.Graph") -> np.ndarray:
    """The Metropolis–Hastings mixing matrix: needs no more than the degrees next door.

    W[i, j] = 1 / (1 + max(d_i, d_j)) for neighbours, W[i, i] takes the rest, and is positive.
    """
    _require_connected(graph)
    weights = np.zeros((len(graph), len(graph)))
    for i, j in graph.edges:
        weights[i, j] = weights[j, i] = 1 / (1 + max(graph.degree[i], graph.degree[j]))
    np.fill_diagonal(weights, 1 - weights.sum(axis=1))
    return weights


def neighbour_weights(graph: "networkx.Graph") -> np.ndarray:
    """The mean of the neighbours alone, W[i, j] = 1/d: a node gives its own value no weight.

    Only a regular graph makes this doubly stochastic. On a bipartite one, such as a ring of
    even length, its second eigenvalue modulus is 1 and gossip never converges.
    """
    import networkx

    _require_connected(graph)
    if not networkx.is_regular(graph):
        raise ValueError(
            "every node must have the same number of neighbours for their plain mean to keep "
            "the sum: use metropolis_weights"
        )
    return networkx.to_numpy_array(graph, nodelist=range(len(graph))) / graph.degree[0]


def check_mixing(weights: np.ndarray, *, tolerance: float = 1e-9) -> None:
    """Raise ``ValueError`` unless ``weights`` is square, non-negative and doubly stochastic."""
    if weights.ndim != 2 or weights.shape[0] != weights.shape[1] or not weights.size:
        raise ValueError(f"a mixing matrix must be square and not empty, got shape {weights.shape}")
    if not np.isfinite(weights).all() or weights.min() < 0:
        raise ValueError("the weights of a mixing matrix must be finite and not negative")
    for axis, what in ((1, "row"), (0, "column")):
        sums = weights.sum(axis=axis)
        worst = int(np.argmax(abs(sums - 1)))
        if abs(sums[worst] - 1) > tolerance:
            raise ValueError(
                f"each {what} of a mixing matrix must sum to 1, {what} {worst} sums to "
                f"{sums[worst]:.6g}"
            )


def second_eigenvalue_modulus(weights: np.ndarray) -> float:
    """The second-largest modulus of the eigenvalues of a mixing matrix, in [0, 1]."""
    check_mixing(weights)
    if len(weights) < 2:
        raise ValueError(f"a mixing matrix must have at least 2 nodes, got {len(weights)}")
    return float(np.sort(abs(np.linalg.eigvals(weights)))[-2])


def _require_connected(graph: "networkx.Graph") -> None:
    import networkx

    if set(graph) != set(range(len(graph))):
        raise ValueError(f"nodes of a graph must be 0..{len(graph) - 1}, got {sorted(graph)}")
    if any(i == j for i, j in graph.edges):
        raise ValueError("a graph must have no self-loops: the weights see to each node's own")
    if not networkx.is_connected(graph):
        raise ValueError("a graph must be connected, or its parts never hear of each other")
