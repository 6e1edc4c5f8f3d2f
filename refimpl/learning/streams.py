"""Independent streams of simulated randomness, each named by what it is for.

Data splits, initial weights and batch orders take their numbers from here, so that a run
repeats exactly and one more draw in one place changes nothing in another. The streams are
reproducible on purpose and therefore **protect nobody**: keys, masks and protective noise come
from ``refimpl.arithmetic.randomness``.
"""

import hashlib
import operator

import numpy as np


def generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """The stream of ``(seed, *purpose)``: the same names give the same stream, on any machine.

    The names are hashed with SHA-256 into a ``SeedSequence``, so streams of different names are
    independent for all practical ends, and ``("a", "bc")`` differs from ``("ab", "c")``.

    Example: ``generator(0, "batches", "hospital 3", 7)`` for round 7 of hospital 3.
    """
    names = [name if isinstance(name, str) else operator.index(name) for name in purpose]
    label = repr((operator.index(seed), *names))
    digest = hashlib.sha256(label.encode()).digest()
    return np.random.default_rng(np.random.SeedSequence(int.from_bytes(digest, "big")))
