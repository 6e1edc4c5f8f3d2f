"""What a protected sum takes in time, against the number of participants and the vector's length.

Nobody races here: the rows are the curves of the chapter on costs. Each says, besides what a row
says, how many ``participants`` and of which ``length`` their vectors were.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from bench.harness import Row, compare
from refimpl import aggregation, network
from refimpl.aggregation import (
    Aggregation,
    Plain,
    SecAggPlus,
    SecretSharing,
    SecureAggregation,
)

COUNTS, MIDDLE = (10, 20, 40, 80), 10_000
LENGTHS, FEW = (1_000, 100_000), 10  # and MIDDLE, which stands in the other row

PROTOCOLS: dict[str, Callable[[int], Aggregation]] = {
    "plain": lambda count: Plain(),
    "additive": lambda count: SecretSharing(bound=1.0, bits=16),
    "Shamir": lambda count: SecretSharing(2 * count // 3 + 1, bound=1.0, bits=16),
    "secure aggregation": lambda count: SecureAggregation(),
    "secure aggregation, active": lambda count: SecureAggregation(adversary="active"),
    "SecAgg+": lambda count: SecAggPlus(),
}


def run() -> list[list[Row]]:
    """The rows of each pair of participants and length."""
    pairs = [(count, MIDDLE) for count in COUNTS] + [(FEW, length) for length in LENGTHS]
    return [sums(*pair) for pair in pairs]


def sums(participants: int, length: int) -> list[Row]:
    """All protocols: one sum each, everybody's work in one process and one thread."""
    functions = {
        name: partial(sum_once, make(participants), participants, length)
        for name, make in PROTOCOLS.items()
    }
    work = f"SMC: sum of {participants} vectors of {length:,}"
    note = "thresholds and graphs differ, and so does what is withstood"
    rows = compare(functions, work=work, repeats=5, note=note)
    return [{**row, "participants": participants, "length": length} for row in rows]


def sum_once(protocol: Aggregation, participants: int, length: int) -> np.ndarray:
    """The sum that the server collects of as many vectors of 0.5."""
    vector = np.full(length, 0.5, np.float32)
    vectors = {f"hospital {number}": vector for number in range(participants)}
    roles = aggregation.roles(protocol, vectors)
    total, _ = network.run(roles, record="sizes").results["server"]
    return total
