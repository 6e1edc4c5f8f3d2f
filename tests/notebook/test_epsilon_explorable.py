"""The mathematics of the explorable ``epsilon.js``, run by node and held against scipy.

Readers need no node: their browser runs the script. Where node is missing, this is skipped.
"""

import json
import shutil
import subprocess
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from refimpl.dp import mechanisms
from refimpl.dp.pairs import LaplacePair

SCRIPT = Path(__file__).parents[2] / "book" / "_static" / "explorables" / "epsilon.js"
NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(
    NODE is None, reason="node is missing: the explorable's mathematics was NOT checked"
)

DEVIATIONS = [0.25, 1.0, 2**0.5, 4.0]
EPSILONS = [0.0, 0.3, 1.0, 2.5, 5.0]
THRESHOLDS = np.linspace(12, 23, 45)
LAWS = {
    "laplace": lambda deviation: stats.laplace(scale=deviation / 2**0.5),
    "gaussian": lambda deviation: stats.norm(scale=deviation),
}
EVERY = list(product(LAWS, DEVIATIONS))

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


def test_normal_tail():
    z = np.concatenate([np.linspace(-8, 8, 161), [2.4999, 2.5, 20.0, 37.0]])
    answers = ask([("normalTail", float(each)) for each in z])
    np.testing.assert_allclose(answers, stats.norm.sf(z), rtol=1e-12)


@pytest.mark.parametrize(("noise", "deviation"), EVERY)
def test_curves_rates_and_slopes_are_those_of_the_noise(noise, deviation):
    law = LAWS[noise](deviation)
    at = [float(t) for t in THRESHOLDS]
    rates = ask([("rates", noise, deviation, t) for t in at])
    np.testing.assert_allclose([r["right"] for r in rates], law.sf(THRESHOLDS - 18), rtol=1e-11)
    np.testing.assert_allclose([r["wrong"] for r in rates], law.sf(THRESHOLDS - 17), rtol=1e-11)
    heights = ask([(f"NOISES.{noise}.density", t - 18, deviation) for t in at])
    np.testing.assert_allclose(heights, law.pdf(THRESHOLDS - 18), rtol=1e-11)
    slopes = np.log(np.array(ask([("ratio", noise, deviation, t) for t in at]), float))
    exact = law.logpdf(THRESHOLDS - 18) - law.logpdf(THRESHOLDS - 17)
    np.testing.assert_allclose(slopes, exact, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("deviation", DEVIATIONS)
def test_delta_is_that_of_the_package(deviation):
    gaussian = ask([("NOISES.gaussian.delta", epsilon, deviation) for epsilon in EPSILONS])
    exact = [mechanisms.gaussian_delta(epsilon, deviation) for epsilon in EPSILONS]
    np.testing.assert_allclose(gaussian, exact, rtol=1e-9, atol=1e-15)
    laplace = ask([("NOISES.laplace.delta", epsilon, deviation) for epsilon in EPSILONS])
    pair = LaplacePair(2**0.5 / deviation)
    for epsilon, delta in zip(EPSILONS, laplace, strict=True):
        # P(L > e) - e^e Q(L > e): in the tails of a positive loss
        tails = pair.tails(np.array([-1.0, max(epsilon, 1e-12)]))
        assert delta == pytest.approx(tails.p[1] - np.exp(epsilon) * tails.q[1], abs=1e-11)


@pytest.mark.parametrize(("noise", "deviation"), EVERY)
def test_the_promise_lies_above_all_thresholds_and_touches_them(noise, deviation):
    thresholds = 17.5 + 150 * np.linspace(-1, 1, 1201) ** 3
    law = LAWS[noise](deviation)
    right, wrong = law.sf(thresholds - 18), law.sf(thresholds - 17)
    deltas = ask([(f"NOISES.{noise}.delta", epsilon, deviation) for epsilon in EPSILONS])
    lines = list(zip(EPSILONS, deltas, strict=True))
    bounds = ask([("promise", *line, float(share)) for line in lines for share in wrong])
    gaps = np.reshape(bounds, (len(lines), -1)) - right
    assert gaps.min() > -1e-12
    for side in (thresholds > 17.5, thresholds < 17.5):
        assert gaps[:, side].min(axis=1).max() < 2e-3  # a tangent, not just a bound


def test_the_two_lines_of_the_promise_mirror_each_other():
    """Whoever says the opposite has (1 - right, 1 - wrong) for (wrong, right)."""
    lines = [(epsilon, delta) for epsilon in EPSILONS for delta in (0.0, 0.01, 0.2)]
    asked = [(*line, share) for line in lines for share in np.linspace(0, 0.79, 80).tolist()]
    right = ask([("promise", *each) for each in asked])
    back = ask([("promise", *each[:2], 1 - r) for each, r in zip(asked, right, strict=True)])
    np.testing.assert_allclose(back, [1 - share for *_, share in asked], atol=1e-9)


def test_draws_of_laplace_follow_the_law():
    u = (np.arange(400) + 0.5) / 400
    drawn = ask([("NOISES.laplace.quantile", float(each), 1.5) for each in u])
    np.testing.assert_allclose(np.sort(drawn), LAWS["laplace"](1.5).ppf(u), rtol=1e-9, atol=1e-12)
