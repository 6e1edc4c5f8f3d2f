import itertools
import os
import subprocess
import sys

import numpy as np
import pytest

from refimpl.learning import generator


def first(*key):
    return int(generator(*key).integers(2**63))


def test_a_stream_is_the_same_in_another_process_with_another_hash_seed():
    code = (
        "import sys; sys.modules['torch'] = None\n"  # the stream needs no torch
        "import importlib.util as u, refimpl, pathlib\n"
        "p = pathlib.Path(refimpl.__file__).parent / 'learning' / 'streams.py'\n"
        "s = u.spec_from_file_location('streams', p); m = u.module_from_spec(s)\n"
        "s.loader.exec_module(m); print(m.generator(3, 'batches', 'hospital 1', 7).integers(2**63))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert int(ran.stdout) == first(3, "batches", "hospital 1", 7)


def test_streams_of_different_names_differ():
    keys = [
        (0,),
        (1,),
        (0, "a"),
        (0, "ab", "c"),
        (0, "a", "bc"),
        (0, "abc"),
        (0, "a', 'bc"),
        (0, "1"),
        (0, 1),
        (1, 0),
        (-1,),
        (0, "a", 0),
    ]
    for one, other in itertools.combinations(keys, 2):
        assert first(*one) != first(*other), (one, other)


def test_numpy_integers_name_the_same_stream():
    assert first(np.int64(3), "x", np.int32(2)) == first(3, "x", 2)


def test_neighbouring_streams_are_uncorrelated():
    # 40,000 pairs: |r| has standard deviation 0.005. The bound is 6 of them (chance 2e-9); a
    # correlation of 0.06 or more would be seen all but once in 1e9.
    rounds = [generator(0, "noise", r).standard_normal(2000) for r in range(21)]
    r = np.corrcoef(np.concatenate(rounds[:-1]), np.concatenate(rounds[1:]))[0, 1]
    assert abs(r) < 0.03


def test_a_seed_must_be_an_integer():
    with pytest.raises(TypeError):
        generator(0.5)
