"""One secure sum to test with: who plays, what it must come to, and what dropouts make of it."""

from functools import partial
from unittest import mock

import numpy as np

from refimpl import network
from refimpl.aggregation import Group, SecAggPlus, SecureAggregation
from refimpl.smc import masks

VERSIONS = {
    "honest-but-curious": SecureAggregation(threshold=4),
    "active": SecureAggregation(threshold=4, adversary="active"),
    "SecAgg+": SecAggPlus(neighbours=4, threshold=2, dropout=0.4),
}
TO_COLLECTOR = ("keys", "shares", "masked vector", "consistency", "unmasking shares")
TO_CONTRIBUTOR = ("roster", "relayed shares", "survivors", "endorsements")


def topics(aggregation):
    """The topics of a sum, in the order of the phases."""
    phases = (
        ("keys", "roster", "shares", "relayed shares", "masked vector", "survivors"),
        ("consistency", "endorsements") if aggregation.adversary == "active" else (),
        ("unmasking shares",),
    )
    return [topic for phase in phases for topic in phase]


def names(count):
    return tuple(f"p{k:04}" for k in range(count))


def vectors(count, length=5, seed=0):
    """Vectors in [-1, 1] with both ends among their values."""
    drawn = np.random.default_rng(seed).uniform(-1, 1, (count, length)).astype(np.float32)
    drawn[0, :1], drawn[-1, -1:] = -1, 1
    return drawn


def summed(aggregation, inputs, *, group=None, roles=None, rng=None, at_least=None, **options):
    """(sum, who, outcome) of the collector "server"; ``roles`` takes the place of some."""
    who = names(len(inputs))
    group = group or Group("server", who, 0, at_least)
    credentials = aggregation.setup([*who, "server"], rng)
    played = {
        name: partial(
            aggregation.contribute, vector=vector, group=group, credentials=credentials[name]
        )
        for name, vector in zip(who, inputs, strict=True)
    }
    played["server"] = partial(aggregation.collect, group=group, credentials=credentials["server"])
    for name, role in (roles or {}).items():
        played[name] = partial(role, credentials=credentials[name], group=group)
    options.setdefault("required", ["server"])
    outcome = network.run(played, **options)
    return *outcome.results["server"], outcome


def exact(inputs, who, *, bound=16.0, bits=16):
    """The sum of the fixed-point encodings of ``who``, in Python's integers, decoded."""
    offset = 2 ** (bits - 1) - 1
    chosen = [inputs[int(name[1:])] for name in who]
    return np.array(
        [
            sum(round(float(value) * (offset / bound)) for value in column) / (offset / bound)
            for column in zip(*chosen, strict=True)
        ]
    )


def is_exact(total, inputs, who, **encoding):
    """Whether ``total`` is that sum, bit for bit."""
    return total.dtype == np.float64 and np.array_equal(total, exact(inputs, who, **encoding))


def real_add(total, seed, *, sign=1, each=masks.add_each):
    """``masks.add``, also where ``other_masks`` stand in its place."""
    each(total, [(seed, sign)])


def other_masks(add):
    """``masks`` with another ``add``, also where many are added at once."""

    def add_each(total, signed):
        for seed, sign in signed:
            add(total, seed, sign=sign)

    return mock.patch.multiple(masks, add=add, add_each=add_each)
