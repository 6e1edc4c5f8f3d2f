"""What an encrypted sum takes in time beside the others, against the vector's length.

Nobody races here: the rows are the curves of the chapter on the costs of encryption. Each says,
besides what a row says, how many ``participants`` there were and of which ``length`` their vectors
were. Keys are made beforehand, except where a protocol makes new ones for every sum. The slow ones
are left out where the vectors are long; their times are proportional to the length long before.
"""

from collections.abc import Callable

import numpy as np

from bench.harness import Row, compare
from refimpl import network
from refimpl.aggregation import (
    Aggregation,
    Group,
    Lattice,
    Paillier,
    Plain,
    SecretSharing,
    SecureAggregation,
    ThresholdLattice,
    ThresholdPaillier,
)

PARTICIPANTS, LENGTHS = 10, (1_000, 10_000, 100_000, 1_000_000)

PROTOCOLS: dict[str, Callable[[], Aggregation]] = {
    "plain": Plain,
    "additive": lambda: SecretSharing(bound=1.0, bits=16),
    "secure aggregation": SecureAggregation,
    "Paillier": lambda: Paillier(bound=1.0),
    "lattice": lambda: Lattice(bound=1.0),
    "lattice, public form": lambda: Lattice(bound=1.0, seeded=False),
    "threshold Paillier": lambda: ThresholdPaillier(7, bound=1.0),
    "threshold lattice": lambda: ThresholdLattice(bound=1.0),
}
LONGEST = {"Paillier": 100_000, "threshold Paillier": 1_000}  # of those that are left out beyond


def run() -> list[list[Row]]:
    """The rows of each length."""
    return [sums(length) for length in LENGTHS]


def sums(length: int) -> list[Row]:
    """All protocols: one sum each, everybody's work in one process."""
    functions = {
        name: prepared(make(), length)
        for name, make in PROTOCOLS.items()
        if length <= LONGEST.get(name, length)
    }
    work = f"HE: sum of {PARTICIPANTS} vectors of {length:,}"
    note = (
        "what is withstood differs; 16-bit values, plain 32-bit floats; Paillier decrypts on all "
        "processors, all else is one thread"
    )
    rows = compare(functions, work=work, repeats=5, note=note)
    return [{**row, "participants": PARTICIPANTS, "length": length} for row in rows]


def prepared(protocol: Aggregation, length: int) -> Callable[[], np.ndarray]:
    """A function that gives the sum of ten vectors of 0.5; its keys are drawn here."""
    names = tuple(f"hospital {number}" for number in range(PARTICIPANTS))
    group = Group("server", names, round=0)
    credentials = protocol.setup([*names, "server"])
    vector = np.full(length, 0.5, np.float32)

    async def contribute(link: network.Link) -> None:
        await protocol.contribute(link, vector, group, credentials[link.name])

    async def collect(link: network.Link) -> np.ndarray:
        total, _ = await protocol.collect(link, group, credentials["server"])
        return total

    parties = {**dict.fromkeys(names, contribute), "server": collect}
    return lambda: network.run(parties, record="sizes").results["server"]
