"""The mathematics of the explorable ``shamir.js``, run by node and held against Python.

Readers need no node: their browser runs the script. Where node is missing, this is skipped.
"""

import json
import shutil
import subprocess
from fractions import Fraction
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

SCRIPT = Path(__file__).parents[2] / "book" / "_static" / "explorables" / "shamir.js"
NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(
    NODE is None, reason="node is missing: the explorable's mathematics was NOT checked"
)

P = 13
THRESHOLDS = [2, 3, 4]
POLYNOMIALS = {2: [7, 11], 3: [7, 5, 12], 4: [0, 1, 9, 3]}
XS = range(1, 6)

PROGRAM = """
const module = { exports: {} };
new Function("module", require("fs").readFileSync(process.argv[1], "utf8"))(module);
const asked = JSON.parse(process.argv[2]);
const answers = asked.map(([name, ...given]) => module.exports[name](...given));
console.log(JSON.stringify(answers.map((answer) => (answer === undefined ? null : answer))));
"""


def ask(*questions):
    """The answers of the script to questions (function, arguments...); undefined is None."""
    run = subprocess.run(
        [NODE, "--eval", PROGRAM, str(SCRIPT), json.dumps(questions)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def value(coefficients, x, modulus=None):
    exact = sum(a * x**k for k, a in enumerate(coefficients))
    return exact % modulus if modulus else exact


@pytest.mark.parametrize("threshold", THRESHOLDS)
@pytest.mark.parametrize("numbers", ["field", "reals"])
def test_any_threshold_points_give_the_polynomial(threshold, numbers):
    modulus = P if numbers == "field" else None
    terms = POLYNOMIALS[threshold]
    places = range(P) if modulus else range(7)
    questions = [
        ("interpolate", [[x, value(terms, x, modulus)] for x in chosen], at, numbers)
        for chosen in combinations(places, threshold)
        for at in (0, 6)
    ]
    answers = ask(*questions)
    expected = [value(terms, at, modulus) for _, _, at, _ in questions]
    np.testing.assert_allclose(answers, expected, atol=1e-7)


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_fitting_polynomials_are_counted_as_by_trying_all(threshold):
    every = [*product(range(P), repeat=threshold)]
    tables = np.array([[value(terms, x, P) for x in range(6)] for terms in every])
    questions, expected = [], []
    for size in range(threshold + 2):
        held = [*XS][:size]
        points = [[x, value(POLYNOMIALS[threshold], x, P)] for x in held]
        through = (tables[:, held] == [y for _, y in points]).all(axis=1)
        for secret in range(P):
            questions.append(("fitting", points, threshold, secret))
            expected.append(int((through & (tables[:, 0] == secret)).sum()))
    assert ask(*questions) == expected
    assert len(set(expected[:P])) == 1  # no share, no preference
    assert sorted(expected[-P:]) == [0] * (P - 1) + [1]


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_in_the_field_all_secrets_are_alike_below_the_threshold(threshold):
    points = [[x, value(POLYNOMIALS[threshold], x, P)] for x in XS]
    few, enough = ask(
        ("chances", points[: threshold - 1], threshold, "field"),
        ("chances", points[:threshold], threshold, "field"),
    )
    np.testing.assert_allclose(few, 1 / P)
    assert enough == [float(s == POLYNOMIALS[threshold][0]) for s in range(P)]


@pytest.mark.parametrize(("threshold", "held"), [(2, [1]), (2, [4]), (3, [1, 3]), (4, [2, 5])])
def test_over_the_reals_it_is_the_normal_posterior(threshold, held):
    """K = Σ_k (2 x^k)(2 z^k) is the covariance of the shares about the secret."""
    points = [[x, 4.0 + x] for x in held]
    powers = np.array([[x**k for k in range(1, threshold)] for x in held], float)
    covariance = 4 * powers @ powers.T
    density = [
        stats.multivariate_normal.pdf([y - secret for _, y in points], cov=covariance)
        for secret in range(P)
    ]
    (answer,) = ask(("likelihood", points, threshold))
    np.testing.assert_allclose(answer, np.array(density) / sum(density), rtol=1e-9, atol=1e-12)
    assert max(answer) > 1.1 / P  # so they do tell something


@pytest.mark.parametrize("threshold", THRESHOLDS)
@pytest.mark.parametrize("numbers", ["field", "reals"])
def test_a_moved_share_is_noticed_and_named_where_it_can_be(threshold, numbers):
    modulus = P if numbers == "field" else None
    points = [[x, value(POLYNOMIALS[threshold], x, modulus)] for x in XS]
    questions = [("agree", points, threshold, numbers)]
    for x in XS:
        moved = [[place, y + (1 if place == x else 0)] for place, y in points]
        if modulus:
            moved = [[place, y % P] for place, y in moved]
        questions += [
            ("agree", moved, threshold, numbers),
            ("wrongShare", moved, threshold, numbers),
            ("chances", moved, threshold, numbers),
        ]
    whole, *answers = ask(*questions)
    assert whole is True
    assert answers[::3] == [False] * 5
    assert answers[2::3] == [[0] * P] * 5
    assert answers[1::3] == ([*XS] if threshold + 2 <= 5 else [None] * 5)


def test_fractions_agree_with_the_reals():
    """Lagrange at 0 through 1, 2, 4, in exact fractions."""
    points = [(1, 4), (2, 3), (4, 11)]
    exact = Fraction(0)
    for xi, yi in points:
        others = [xj for xj, _ in points if xj != xi]
        term = Fraction(yi)
        for xj in others:
            term *= Fraction(-xj, xi - xj)
        exact += term
    (answer,) = ask(("interpolate", points, 0, "reals"))
    assert answer == pytest.approx(float(exact), abs=1e-12)
