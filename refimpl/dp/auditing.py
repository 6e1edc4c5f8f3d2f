"""Auditing: lower bounds on epsilon, measured by attacking what a mechanism releases.

An accountant proves an upper bound, for the algorithm on paper. An audit measures a lower bound,
for the program that runs. If the measured bound exceeds the claim, the program is wrong.

**Many runs.** The mechanism runs on two neighbours, many times each, and an attack guesses "with"
or "without" the one person from each result. (epsilon, delta)-DP limits how well that can go
(Kairouz, Oh and Viswanath, ICML 2015, theorem 2.1; TPR and FPR are the shares of right and wrong
guesses of "with"):

    TPR <= e^epsilon FPR + delta        1 - FPR <= e^epsilon (1 - TPR) + delta

``Guesses`` puts Clopper-Pearson bounds in their place (Nasr et al., S&P 2021). If the claim is
a noise multiplier, not a pair (epsilon, delta), ``Guesses.mu`` makes more of the same guesses:
Gaussian DP says Phi^-1(TPR) - Phi^-1(FPR) <= mu (Dong, Roth and Su, JRSS B 2022; Nasr et al.,
USENIX Security 2023).

**One run.** Many canaries are each included or not by a coin of their own, all in the same run.
The attack guesses the coins of some of them, and abstains from the others (Steinke, Nasr and
Jagielski, NeurIPS 2023). ``OneRun`` bounds epsilon by the number of right guesses. It needs one
run, and is looser.

A bound holds with probability at least 1 - ``alpha``, the alpha of one test: over more tests,
chances of failure add up. It holds if runs are independent, and if what decides the guesses
(threshold, number of guesses, attack) was fixed before these scores were seen; searching for
the best threshold on the same scores voids it. A low bound proves nothing: another attack may do
better.

Nothing here protects anybody. Errors: ValueError for counts that do not fit each other,
probabilities out of range, NaN and infinite scores.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

from refimpl.arithmetic.checks import whole
from refimpl.dp import checks


@dataclass(frozen=True, kw_only=True)
class Guesses:
    """How often an attack guessed "with", over independent runs on two neighbours.

    ``true_positives`` of ``positives`` >= 1 runs that were with the person, ``false_positives`` of
    ``negatives`` >= 1 runs that were without.
    """

    true_positives: int
    positives: int
    false_positives: int
    negatives: int

    def __post_init__(self) -> None:
        whole("positives", self.positives, 1)
        whole("negatives", self.negatives, 1)
        whole("true_positives", self.true_positives, 0, self.positives)
        whole("false_positives", self.false_positives, 0, self.negatives)

    def epsilon(self, *, delta: float = 0.0, alpha: float = 0.01) -> float:
        """A lower bound on epsilon at this delta in [0, 1); 0 where the guesses show nothing."""
        _check_delta(delta)
        with_right, with_wrong, without_right, without_wrong = self._rates(alpha)
        ratios = (
            (with_right - delta) / without_wrong,  # TPR <= e^epsilon FPR + delta
            (without_right - delta) / with_wrong,  # 1 - FPR <= e^epsilon (1 - TPR) + delta
        )
        return math.log(max(1.0, *ratios))

    def mu(self, *, alpha: float = 0.01) -> float:
        """A lower bound on mu, if the mechanism is mu-Gaussian DP; 0 where nothing is shown.

        T Gaussian mechanisms of noise multiplier z, without sampling, have mu = sqrt(T) / z.
        """
        with_right, with_wrong, without_right, without_wrong = self._rates(alpha)
        return max(0.0, _z(with_right, with_wrong) + _z(without_right, without_wrong))

    def _rates(self, alpha: float) -> tuple[float, float, float, float]:
        """Least TPR, its complement, least true negative rate, its complement; together 1-alpha."""
        half = checks.probability("alpha", alpha) / 2
        right = _least(self.true_positives, self.positives, half)
        left_out = _least(self.negatives - self.false_positives, self.negatives, half)
        return *right, *left_out


@dataclass(frozen=True, kw_only=True)
class OneRun:
    """What an attack guessed in one run: ``correct`` of ``guesses``, of ``canaries`` at stake.

    Each canary was included with chance 1/2, independently of all else. The attack guessed
    whether, for as many as it liked, from the result of the run; 1 <= guesses <= canaries.
    """

    correct: int
    guesses: int
    canaries: int

    def __post_init__(self) -> None:
        whole("canaries", self.canaries, 1)
        whole("guesses", self.guesses, 1, self.canaries)
        whole("correct", self.correct, 0, self.guesses)

    def p_value(self, *, epsilon: float, delta: float = 0.0) -> float:
        """An upper bound on the chance of this many right guesses under (epsilon, delta)-DP.

        Steinke, Nasr and Jagielski, arXiv:2305.08846, corollary 5.4, for B ~ Binomial(guesses, q)
        and v = correct:

            q = e^epsilon / (e^epsilon + 1)
            p = Pr[B >= v] + 2 delta canaries max_(1 <= i <= v) Pr[v - i <= B < v] / i
        """
        if not (epsilon >= 0 and math.isfinite(epsilon)):
            raise ValueError(f"epsilon must be finite and at least 0, got {epsilon!r}")
        _check_delta(delta)
        if not self.correct:
            return 1.0
        v, r, q = self.correct, self.guesses, special.expit(epsilon)
        value = float(special.betainc(v, r - v + 1, q))  # Pr[B >= v]
        if delta:
            steps = np.arange(1, v + 1)
            between = np.cumsum(stats.binom.pmf(v - steps, r, q))
            value += 2 * delta * self.canaries * float((between / steps).max())
        return min(1.0, value)

    def epsilon(self, *, delta: float = 0.0, alpha: float = 0.01) -> float:
        """A lower bound on epsilon at this delta in [0, 1): the least whose p-value is alpha."""
        right, wrong = _least(self.correct, self.guesses, checks.probability("alpha", alpha))
        most = math.log(max(1.0, right / wrong))  # the bound at delta 0: Pr[B >= v] = alpha
        _check_delta(delta)
        if not delta or not most:
            return most

        def excess(epsilon: float) -> float:
            return self.p_value(epsilon=epsilon, delta=delta) - alpha

        if excess(0.0) >= 0:
            return 0.0
        tolerance = 1e-12
        return max(0.0, float(optimize.bisect(excess, 0.0, most, xtol=tolerance)) - tolerance)


def guess(with_it: ArrayLike, without: ArrayLike, *, threshold: float) -> Guesses:
    """The attack that guesses "with" where a score is at least ``threshold``.

    ``with_it`` and ``without``: the scores of independent runs on the two neighbours, of any
    shape, at least one each. The threshold must not come from these scores.
    """
    positives, negatives = _scores("with_it", with_it), _scores("without", without)
    limit = float(checks.finite("threshold", threshold))
    return Guesses(
        true_positives=int((positives >= limit).sum()),
        positives=positives.size,
        false_positives=int((negatives >= limit).sum()),
        negatives=negatives.size,
    )


def guess_one_run(scores: ArrayLike, included: ArrayLike, *, guesses: int) -> OneRun:
    """The attack that says "in" for the highest scores of one run, and "out" for the lowest.

    ``scores`` and ``included``, truth values, one of each a canary, shape (canaries,). Half of
    ``guesses``, rounded up, are "in". Among equal scores the order of the canaries decides.
    """
    values, truths = _scores("scores", scores), np.asarray(included)
    if truths.dtype.kind != "b" or truths.shape != np.shape(scores) or truths.ndim != 1:
        raise ValueError(
            "scores and included must have one number and one truth value a canary, got "
            f"shape {np.shape(scores)} and {truths.dtype} of shape {truths.shape}"
        )
    count = whole("guesses", guesses, 1, truths.size)
    order, low = np.argsort(values, kind="stable"), count // 2
    correct = truths[order[truths.size - (count - low) :]].sum() + (~truths[order[:low]]).sum()
    return OneRun(correct=int(correct), guesses=count, canaries=truths.size)


def clopper_pearson(successes: int, trials: int, *, alpha: float) -> tuple[float, float]:
    """Exact bounds (lower, upper) of a chance, each of which fails with at most alpha / 2.

    From ``successes`` of ``trials`` independent trials (Clopper and Pearson, Biometrika 1934).
    """
    n, half = whole("trials", trials, 1), checks.probability("alpha", alpha) / 2
    k = whole("successes", successes, 0, n)
    return _least(k, n, half)[0], _least(n - k, n, half)[1]


def _least(successes: int, trials: int, alpha: float) -> tuple[float, float]:
    """The lower Clopper-Pearson bound, and its complement to full precision where it is small."""
    if not successes:
        return 0.0, 1.0
    if successes == trials:  # lower^trials = alpha
        return alpha ** (1 / trials), -math.expm1(math.log(alpha) / trials)
    a, b = successes, trials - successes + 1  # lower is the alpha quantile of Beta(a, b)
    return float(special.betaincinv(a, b, alpha)), float(special.betainccinv(b, a, alpha))


def _z(chance: float, complement: float) -> float:
    """Phi^-1(chance), without cancellation near 1; minus infinity for chance 0."""
    return float(special.ndtri(chance) if chance < 0.5 else -special.ndtri(complement))


def _scores(name: str, values: ArrayLike) -> NDArray[np.float64]:
    array = checks.finite(name, values)
    if not array.size:
        raise ValueError(f"{name} must hold at least one score, got none")
    return array.reshape(-1)


def _check_delta(delta: float) -> None:
    if delta != 0:
        checks.probability("delta", delta)
