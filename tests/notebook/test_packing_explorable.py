"""The mathematics of the explorable ``packing.js``, run by node and held against the package.

Readers need no node: their browser runs the script. Where node is missing, this is skipped.
"""

import json
import shutil
import subprocess
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from refimpl.arithmetic.fixed_point import FixedPoint
from refimpl.he import packing, paillier

SCRIPT = Path(__file__).parents[2] / "book" / "_static" / "explorables" / "packing.js"
NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(
    NODE is None, reason="node is missing: the explorable's mathematics was NOT checked"
)

SLOTS, MOST = 3, 20
KINDS = ["mixed", "zero", "largest"]
BITS, HEADROOM = range(3, 7), range(5)
LAYOUTS = [(bits, bits + more) for bits, more in product(BITS, HEADROOM)]

PROGRAM = """
const module = { exports: {} };
new Function("module", require("fs").readFileSync(process.argv[1], "utf8"))(module);
const asked = JSON.parse(require("fs").readFileSync(0, "utf8"));
const find = (name) => name.split(".").reduce((place, part) => place[part], module.exports);
console.log(JSON.stringify(asked.map(([name, ...given]) => find(name)(...given))));
"""


def ask(questions):
    """The answers of the script to questions (function, arguments...)."""
    run = subprocess.run(
        [NODE, "--eval", PROGRAM, str(SCRIPT)],
        input=json.dumps(questions),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def encodings(kind, bits):
    """What each hospital adds in each slot, by the script: (hospitals, slots)."""
    asked = [(f"KINDS.{kind}.1", k, slot, bits) for k in range(MOST) for slot in range(SLOTS)]
    return np.reshape(ask(asked), (MOST, SLOTS))


def test_room_is_the_most_summands_whose_sums_fit():
    layouts = [*LAYOUTS, (16, 24), (8, 12), (16, 16)]
    for (bits, width), room in zip(layouts, ask([("room", *at) for at in layouts]), strict=True):
        assert FixedPoint(1.0, bits, room).sum_bits <= width
        assert FixedPoint(1.0, bits, room + 1).sum_bits > width


def test_packing_is_that_of_the_package():
    rng = np.random.default_rng(0)
    cases = [(rng.integers(0, 2**width, SLOTS), width) for _, width in LAYOUTS]
    answers = ask([("pack", values.tolist(), width) for values, width in cases])
    expected = [packing.pack(v.astype(np.uint64), width, SLOTS)[0] for v, width in cases]
    assert list(map(int, answers)) == expected
    back = ask([("unpack", answer, w) for answer, (_, w) in zip(answers, cases, strict=True)])
    assert back == [[*values.tolist(), 0] for values, _ in cases]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bits", BITS)
def test_encodings_are_in_range_and_mean_what_they_are_said_to(kind, bits):
    code, added = FixedPoint(1.0, bits, MOST), encodings(kind, bits)
    assert added.min() >= 0 and added.max() <= 2 * code.offset
    asked = [("real", total, k, bits) for k, total in enumerate(np.cumsum(added[:, 0]).tolist(), 1)]
    exact = [code.decode(np.array([total]), summands=k)[0] for _, total, k, _ in asked]
    np.testing.assert_allclose(ask(asked), exact, atol=1e-12)
    if kind != "mixed":
        assert set(exact) == ({0.0} if kind == "zero" else set(range(1, MOST + 1)))
    else:
        assert len({tuple(row) for row in added.tolist()}) > MOST / 2  # they differ


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bits", BITS)
def test_slots_run_over_as_python_says(kind, bits):
    added = encodings(kind, bits).tolist()
    counts, widths = range(1, MOST + 1), [bits + more for more in HEADROOM]
    cases = [*product(counts, widths)]
    answers = ask([("after", k, kind, bits, width) for k, width in cases])
    rooms = dict(zip(widths, ask([("room", bits, width) for width in widths]), strict=True))
    for (k, width), found in zip(cases, answers, strict=True):
        sums = np.sum(added[:k], axis=0).tolist()
        number = sum(total << (slot * width) for slot, total in enumerate(sums))
        assert (found["sums"], found["last"]) == (sums, added[k - 1])
        assert int(found["packed"]) == number
        read = [number >> (slot * width) & (2**width - 1) for slot in range(SLOTS)]
        assert found["read"] == read and found["past"] == number >> (SLOTS * width)
        if k <= rooms[width]:
            assert read == sums and found["past"] == 0


def test_every_way_to_run_over_can_be_seen():
    """A reader who adds all hospitals without headroom sees it, and with enough sees none."""
    for kind in KINDS:
        over, fitting = ask([("after", MOST, kind, 4, 4), ("after", 17, kind, 4, 8)])
        assert over["read"] != over["sums"] and over["past"] > 0
        assert fitting["read"] == fitting["sums"] and fitting["past"] == 0


def test_values_and_bytes_are_those_of_the_package():
    widths = range(3, 61)
    found = ask([(name, width) for width in widths for name in ("values", "bytes")])
    n = (1 << 2048) - 3  # of 2048 bits, and 1 modulo 4: only its length matters here
    for width, held, size in zip(widths, found[::2], found[1::2], strict=True):
        # one summand and no headroom: slots of `width` bits
        code = FixedPoint(1.0, min(width, 48), 1 << max(0, width - 48))
        public = paillier.PublicKey(n, 2, code)
        assert code.sum_bits == width and public.slots == held
        numbers = public.from_integers([1] * 10, length=10 * held)
        assert numbers.nbytes / numbers.length == pytest.approx(size, rel=1e-12)
