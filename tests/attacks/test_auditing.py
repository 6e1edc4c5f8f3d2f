"""DP-SGD audited: right, it stays below its claim; each planted fault exceeds it.

All bounds have alpha = 1e-8 and seeds are fixed. For fresh seeds, one of the fewer than 30 bounds
below would exceed a true claim with chance below 1e-6. ``test_the_power_of_the_audits`` computes
how often a fault would be missed, from the exact laws of the scores: below 1e-6 each.
"""

import functools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from refimpl.arithmetic.randomness import seeded
from refimpl.attacks import auditing
from refimpl.dp.auditing import Guesses
from refimpl.learning import Examples, dp_sgd, mlp
from refimpl.learning.dp_sgd import DPSGD
from refimpl.learning.noise import GaussianNoise

ALPHA = 1e-8
# Two steps with mu = 2, so that scores have the laws below, up to their unit
TRAINING = replace(auditing.MANY_RUNS, steps=2, noise_multiplier=math.sqrt(0.5))
# fault: runs of the training that catch it
TRAINING_FAULTS = {
    "half the noise": 500,
    "clipping after averaging": 500,
    "division by the batch size": 700,
}
# fault: caught by many runs, caught by one run
CATCHES = {
    "none": (False, False),
    "no noise": (True, True),
    "half the noise": (True, False),
    "clipping after averaging": (True, True),
    "division by the batch size": (True, False),
    "reused noise": (True, True),
}


@functools.cache
def table():
    return {row.fault: row for row in auditing.table(alpha=ALPHA, rng=seeded(2))}


@pytest.mark.parametrize("fault", CATCHES)
def test_which_audit_catches_which_fault(fault):
    row = table()[fault]
    assert (row.caught_by_many_runs, row.caught_by_one_run) == CATCHES[fault], row


def test_the_table_has_a_row_for_each_fault_and_the_claims_of_the_account():
    rows = table()
    assert list(rows) == list(auditing.FAULTS) == list(CATCHES)
    for row in rows.values():
        assert row.claimed_mu == 2.0  # sqrt(4) / 1
        assert row.claimed_epsilon == auditing.ONE_RUN.epsilon(1e-12) > 0.5
    assert 1.0 < rows["none"].mu < 2.0  # the attack on the right program is not idle


def law(fault):
    """Exact TPR and FPR: scores are normal; C = 1, 4 steps of sd 1, 20 others, threshold 2."""
    honest = (4, 2)  # mean and standard deviation with the canary; without it (0, 2)
    mean, sd, sd_without = {
        "none": (*honest, 2),
        "no noise": (4, 0, 0),
        "half the noise": (4, 1, 1),
        # the mean is cut from -3 to -1, with the canary from (100 - 60) / 21 to 1; times 20
        "clipping after averaging": (160, 2, 2),
        # the sum -20 becomes 20 / 21 of -19, four times
        "division by the batch size": (80 - 76 * 20 / 21, 2 * 20 / 21, 2),
        "reused noise": (4, 0, 0),
    }[fault]
    tiny = 1e-9
    return stats.norm.sf(2, mean, sd + tiny), stats.norm.sf(2, 0, sd_without + tiny)


@pytest.mark.parametrize("fault", [fault for fault in CATCHES if fault != "none"])
def test_the_power_of_the_audits(fault):
    """With the least true and the most false positives of all but 1e-6 of outcomes."""
    tpr, fpr = law(fault)
    for runs in {1000, TRAINING_FAULTS.get(fault, 1000)}:
        worst = Guesses(
            true_positives=int(stats.binom.ppf(5e-7, runs, tpr)),
            positives=runs,
            false_positives=int(stats.binom.isf(5e-7, runs, fpr)),
            negatives=runs,
        )
        assert worst.mu(alpha=ALPHA) > 2.0


@pytest.mark.parametrize("fault", CATCHES)
def test_the_scores_have_the_law_that_the_power_rests_on(fault):
    """Counts of 1000 runs within 5.2 standard deviations: chance 2e-7 to fail, for each."""
    guesses = table()[fault].guesses
    tpr, fpr = law(fault)
    for count, rate in ((guesses.true_positives, tpr), (guesses.false_positives, fpr)):
        assert abs(count - 1000 * rate) <= 5.2 * math.sqrt(1000 * rate * (1 - rate)) + 1e-6


@pytest.mark.parametrize("fault", ["no noise", "clipping after averaging", "reused noise"])
def test_one_run_sees_gross_faults_with_certainty(fault):
    """Needed for the bound to exceed the claim: 175 of 200 right.

    Where noise is none or cancels, all are. Where the mean of some 500 canaries is clipped, each
    moves its score by 500 / sqrt(500) = 22 a step, against noise of 16: mu = 2.8, and of the
    guesses on the outermost tenths one in 1400 is wrong. That 6 of 200 are has chance 1e-8.
    """
    run = table()[fault].run
    assert run.correct >= (195 if fault == "clipping after averaging" else 200)
    needed = replace(run, correct=175)
    assert needed.epsilon(delta=1e-12, alpha=ALPHA) > auditing.ONE_RUN.epsilon(1e-12)


def test_one_run_bounds_a_loose_training_from_below_but_not_tightly():
    loose = replace(auditing.ONE_RUN, noise_multiplier=1.0)
    bound = auditing.one_run_audit(settings=loose, rng=seeded(7)).epsilon(delta=1e-12, alpha=ALPHA)
    assert 1.0 < bound < 0.5 * loose.epsilon(1e-12)


# The training itself, of which only the last parameters are seen


def trained(fault):
    runs = TRAINING_FAULTS.get(fault, 200)
    return auditing.training_audit(TRAINING, runs=runs, rng=seeded(8)).mu(alpha=ALPHA)


def test_training_stays_below_its_claim():
    assert 0.9 < trained("half the noise") < 2.0


def test_training_with_half_the_noise_is_caught(monkeypatch):
    honest = DPSGD.noise
    halved = lambda self, size, rng: honest(  # noqa: E731
        replace(self, noise_multiplier=self.noise_multiplier / 2), size, rng
    )
    monkeypatch.setattr(DPSGD, "noise", halved)
    assert trained("half the noise") > 2.0
    assert auditing.canary_audit(rng=seeded(8)).mu(alpha=ALPHA) > 2.0


def test_training_that_clips_after_averaging_is_caught(monkeypatch):
    honest = dp_sgd.clipped_gradients

    def mean_clipped(model, parameters, *, clipping_norm):
        total = honest(model, parameters, clipping_norm=math.inf)

        def clipped(x, targets):
            mean = total(x, targets) / len(x)
            return mean * min(1, clipping_norm / float(mean.norm())) * auditing.OTHERS

        return clipped

    monkeypatch.setattr(dp_sgd, "clipped_gradients", mean_clipped)
    assert trained("clipping after averaging") > 2.0


def test_training_that_divides_by_the_batch_size_is_caught(monkeypatch):
    honest = DPSGD.train

    def divided(self, model, parameters, examples, *, rng):
        at_hand = replace(self, expected_size=float(len(examples)))
        return honest(at_hand, model, parameters, examples, rng=rng)

    monkeypatch.setattr(DPSGD, "train", divided)
    assert trained("division by the batch size") > 2.0


def test_reused_noise_is_caught_by_who_sees_the_steps_only(monkeypatch):
    honest = GaussianNoise._draw

    def repeated(self, sigma, rng):
        rows = honest(self, sigma, rng)
        return np.broadcast_to(rows[:1], rows.shape)

    monkeypatch.setattr(GaussianNoise, "_draw", repeated)
    assert auditing.canary_audit(rng=seeded(8)).mu(alpha=ALPHA) > 2.0
    assert trained("reused noise") < 2.0


# Parts


def test_the_sum_for_given_gradients_is_that_of_the_definition():
    gradients = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0], [-50.0, 0.0]])
    expected = torch.tensor([0.6 + 0.3 - 1.0, 0.8 + 0.4])
    torch.testing.assert_close(auditing.clip_and_add(gradients, 1.0), expected)


def test_the_audited_steps_are_those_of_training(monkeypatch):
    """Without batches to draw, one generator: ``train`` arrives where the audited steps lead."""
    everyone = lambda n, *_, **__: iter(4 * [np.arange(n)])  # noqa: E731
    monkeypatch.setattr(dp_sgd, "poisson_batches", everyone)
    settings, y = auditing.MANY_RUNS, np.array([900.0, 1000, 1100, 1200, -5000])
    model = mlp(1, (), 1, objective="squared error")
    final = settings.train(model, np.zeros(2), Examples(np.ones((5, 1)), y), rng=seeded(9))
    gradients = torch.tensor(-np.sign(y)[:, None] * np.full((5, 2), 30.0)).expand(4, 5, 2)
    (steps,) = auditing.dp_sgd(settings, gradients, 1, seeded(9))
    np.testing.assert_allclose(final, -settings.learning_rate * steps.sum(0), atol=1e-4)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: auditing.canary_audit(settings=DPSGD(sample_rate=0.5)), "sample_rate must be 1"),
        (lambda: auditing.training_audit(DPSGD(sample_rate=1.0)), "expected_size must be given"),
        (
            lambda: auditing.claimed_mu(replace(auditing.MANY_RUNS, noise_multiplier=0)),
            "noise_multiplier must be above 0",
        ),
        (lambda: auditing.canary_audit(runs=0), "runs must be a whole number of at least 1"),
        (lambda: auditing.one_run_audit(canaries=0), "canaries must be a whole number"),
        (lambda: auditing.one_run_audit(canaries=9), "guesses must be a whole number"),
    ],
)
def test_wrong_arguments_are_named(act, message):
    with pytest.raises(ValueError, match=message):
        act()
