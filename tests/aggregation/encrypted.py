"""Encrypted sums for the tests: 2048-bit keys of known primes, made once."""

from functools import cache, partial

import numpy as np

from refimpl import network
from refimpl.aggregation import Group, Lattice, Paillier, ThresholdLattice, ThresholdPaillier
from refimpl.arithmetic import randomness
from tests.he.keys import SAFE_PRIMES_OF_1024_BITS as PRIMES

NAMES = tuple(f"p{k}" for k in range(5))
SCHEMES = {
    "Paillier": Paillier(primes=PRIMES),
    "Lattice": Lattice(),
    "Lattice, public form": Lattice(seeded=False),
    "ThresholdPaillier": ThresholdPaillier(3, primes=PRIMES),
    "ThresholdLattice": ThresholdLattice(length=1000),
}
SINGLE = tuple(name for name, scheme in SCHEMES.items() if isinstance(scheme, Paillier | Lattice))
QUORUM = {**dict.fromkeys(SINGLE, 1), "ThresholdPaillier": 3, "ThresholdLattice": 5}
ROUND = 7


@cache
def _made(scheme, parties):
    return SCHEMES[scheme].setup(parties, randomness.seeded(0))


def credentials_of(scheme, names=NAMES):
    """The parties' credentials. Those of ``ThresholdLattice`` are fresh: they change in use."""
    parties = (*names, "server")
    if scheme == "ThresholdLattice":
        return SCHEMES[scheme].setup(parties, randomness.seeded(0))
    return _made(scheme, parties)


def vectors_of(names=NAMES, length=4, seed=0):
    """A vector for each name, in [-3, 3]."""
    rng = np.random.default_rng(seed)
    return {name: rng.uniform(-3, 3, length) for name in names}


def outcome_of(scheme, vectors, *, at_least=None, replaced=(), credentials=None, **options):
    """The run of one sum; ``replaced`` are roles in place of the honest ones."""
    aggregation, group = SCHEMES[scheme], Group("server", tuple(vectors), ROUND, at_least)
    credentials = credentials or credentials_of(scheme, tuple(vectors))
    roles = {
        name: partial(
            aggregation.contribute, vector=vector, group=group, credentials=credentials[name]
        )
        for name, vector in vectors.items()
    }
    roles["server"] = partial(aggregation.collect, group=group, credentials=credentials["server"])
    roles.update(replaced)
    return network.run(roles, **options)


def exact_sum(scheme, vectors, who):
    """What the sum of the encodings stands for, added up in Python integers."""
    code = SCHEMES[scheme].encoding(Group("server", tuple(vectors), 0))
    encoded = [[int(level) for level in code.encode(vectors[name])] for name in who]
    return [
        (sum(column) - len(who) * code.offset) / code.scale for column in zip(*encoded, strict=True)
    ]
