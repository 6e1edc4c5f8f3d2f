"""How few neighbours secure aggregation needs: degree, threshold and graph of SecAgg+.

In SecAgg+ (Bell, Bonawitz, Gascón, Lepoint, Raykova: Secure Single-Server Aggregation with
(Poly)Logarithmic Overhead, CCS 2020) each of n clients shares masks and secrets with only k others,
its neighbours in a random graph. Any t of them can rebuild its secrets. Of the n clients at
most C = gamma n are corrupt and at most D = delta n drop out; neither choice depends on the graph.

    privacy      no honest client has t or more corrupt neighbours, and the honest clients that
                 stay form a connected graph (if it fell apart, each part's sum would show)

    correctness  every client keeps at least t neighbours that stay

``parameters`` finds the smallest k for which privacy fails with probability at most 2^-sigma, and
correctness with at most 2^-eta. The graph is Harary's, under a random order of the clients: each is
joined to the k/2 next ones on either side of a circle. To the others an honest client's neighbours
are a random k-subset, so the number of marked ones among them is hypergeometric:

    privacy      (n - C) P[Hyp(n - 1, C, k) >= t] + pairs C(n - k, C + D - k) / C(n, C + D)
    correctness  n P[Hyp(n - 1, D, k) >= k - t + 1]

with union bounds over the clients. For the second term: clients that stay and are next to each
other on the circle, with fewer than k/2 gone between them, are joined. So the graph falls apart
only if k/2 clients in a row are gone in two separate places. There are pairs = n (n - k - 1) / 2
pairs of places, and each is empty with the probability that k given clients are among the gone.
The parameter search of Google's federated-compute (fcp/secagg/server) uses the same three bounds.

Adversary: an honest-but-curious server with up to C clients. The bounds do not hold for a server
that lies about who dropped out, or that builds the graph to its liking.
"""

from collections.abc import Sequence
from itertools import chain
from math import ceil, inf, log
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from refimpl.arithmetic.checks import whole
from refimpl.arithmetic.randomness import CryptoGenerator, resolve


class Parameters(NamedTuple):
    """k ``neighbours`` of each client, of whom any ``threshold`` t rebuild its secrets."""

    neighbours: int
    threshold: int


class Risk(NamedTuple):
    """Upper bounds on probabilities, as base-2 logarithms: -40 stands for 2^-40."""

    privacy: float
    correctness: float


def parameters(
    clients: int, *, corrupt: float, dropout: float, sigma: float = 40, eta: float = 30
) -> Parameters:
    """The smallest even k (or k = clients - 1, everybody), and the smallest t that goes with it.

    ``corrupt`` (gamma) and ``dropout`` (delta) are fractions in [0, 1). ``clients`` times each is
    rounded up, and at least one client counts as corrupt: each is curious on its own. Raises
    ValueError unless at least two honest clients stay. If they do, the complete graph serves.
    """
    gone = _gone(clients, corrupt, dropout)

    def thresholds(neighbours: int) -> NDArray:
        privacy, correctness = _risks(clients, neighbours, *gone)
        return np.flatnonzero((privacy <= -sigma) & (correctness <= -eta))

    degrees = chain(range(2, clients - 1, 2), [clients - 1])
    found = ((degree, thresholds(degree)) for degree in degrees)
    return next(Parameters(degree, int(fitting[0])) for degree, fitting in found if fitting.size)


def risk(clients: int, neighbours: int, threshold: int, *, corrupt: float, dropout: float) -> Risk:
    """How likely privacy and correctness fail, at most, with these parameters."""
    gone = _gone(clients, corrupt, dropout)
    neighbours = _degree(clients, neighbours)
    threshold = whole("threshold", threshold, 1, neighbours)
    privacy, correctness = _risks(clients, neighbours, *gone)
    return Risk(float(privacy[threshold]), float(correctness[threshold]))


def graph(
    parties: Sequence[str], neighbours: int, rng: CryptoGenerator | None = None
) -> dict[str, tuple[str, ...]]:
    """Each party's neighbours, sorted, in a Harary graph under a random order of the parties.

    ``neighbours``: even, or everybody else. ``rng``: default ``randomness.secure()``.
    """
    n = len(parties)
    if len(set(parties)) != n:
        raise ValueError("parties must be different names, got one of them twice")
    degree = _degree(n, neighbours)
    circle = [parties[place] for place in _permutation(n, resolve(rng))]
    steps = range(1, n) if degree == n - 1 else [*range(1, degree // 2 + 1)]
    if degree < n - 1:
        steps = [*steps, *(-step for step in steps)]
    return {
        name: tuple(sorted(circle[(place + step) % n] for step in steps))
        for place, name in enumerate(circle)
    }


def _risks(n: int, k: int, corrupt: int, dropped: int) -> tuple[NDArray, NDArray]:
    """Both bounds, for every threshold from 0 to k, as base-2 logarithms."""
    with np.errstate(divide="ignore"):  # the logarithm of an impossible event is -inf
        spied = np.log(n - corrupt) + _log_tail(n - 1, corrupt, k)
        apart = _log_disconnected(n, k, corrupt + dropped)
        lost = np.log(n) + _log_tail(n - 1, dropped, k)
    # Fewer than t of k stay: at least k - t + 1 are lost; for t = 0 that is more than there are.
    short = np.append(-inf, lost[:0:-1])
    return np.logaddexp(spied, apart) / log(2), short / log(2)


def _log_tail(population: int, marked: int, draws: int) -> NDArray:
    """log P[X >= j], j = 0..draws, for X marked ones among the draws without replacement."""
    hits = np.arange(draws + 1)
    exact = (
        _log_choose(marked, hits)
        + _log_choose(population - marked, draws - hits)
        - _log_choose(population, np.array(draws))
    )
    return np.minimum(0, np.logaddexp.accumulate(exact[::-1])[::-1])


def _log_disconnected(n: int, k: int, gone: int) -> float:
    """log of the bound for two gaps of k/2; -inf for the complete graph, which has no gaps."""
    if k == n - 1 or gone < k:
        return -inf
    pairs = log(n * (n - k - 1) / 2)
    blocked = _log_choose(n - k, np.array(gone - k)) - _log_choose(n, np.array(gone))
    return pairs + float(blocked)


def _log_choose(n: int, k: NDArray) -> NDArray:
    """log of the binomial coefficient; -inf unless 0 <= k <= n."""
    inside = np.clip(k, 0, n)
    value = gammaln(n + 1) - gammaln(inside + 1) - gammaln(n - inside + 1)
    return np.where(k == inside, value, -inf)


def _gone(clients: int, corrupt: float, dropout: float) -> tuple[int, int]:
    """The largest numbers of corrupt clients and of dropouts, checked."""
    whole("clients", clients, 3)
    for name, rate in (("corrupt", corrupt), ("dropout", dropout)):
        if not 0 <= rate < 1:
            raise ValueError(f"{name} must be a fraction between 0 and 1 (not 1), got {rate}")
    spying, lost = (ceil(rate * clients - 1e-9) for rate in (corrupt, dropout))  # 0.07 * 100 > 7
    spying = max(1, spying)
    if spying + lost > clients - 2:
        raise ValueError(
            f"at least two honest clients must stay, but of clients={clients} up to {spying} are "
            f"corrupt and {lost} drop out; lower corrupt={corrupt} or dropout={dropout}"
        )
    return spying, lost


def _degree(clients: int, neighbours: int) -> int:
    """``neighbours`` if a graph of this many clients can have it."""
    degree = whole("neighbours", neighbours, 2, clients - 1)
    if degree % 2 and degree != clients - 1:
        raise ValueError(
            f"neighbours must be even, or clients - 1 = {clients - 1} for everybody, got {degree}"
        )
    return degree


def _permutation(n: int, rng: CryptoGenerator) -> NDArray:
    """A uniform order of range(n): the order of random words, drawn again if two are equal."""
    words = rng.uint64(n)
    while np.unique(words).size < n:
        words = rng.uint64(n)
    return np.argsort(words)
