"""What a record is promised: settings from a method's, and the account of the worst protected."""

import math

import numpy as np
import pytest

from refimpl.dp import accounting
from refimpl.learning import DPSGD, RecordDP


def sgd(examples, batch_size, epochs, **options):
    return RecordDP(**options).sgd(
        examples, learning_rate=0.3, batch_size=batch_size, epochs=epochs
    )


@pytest.mark.parametrize(
    ("examples", "batch_size", "epochs", "rate", "steps", "divisor"),
    [
        (100, 16, 5, 0.16, 35, 16),
        (96, 16, 1, 1 / 6, 6, 16),
        (10, 16, 2, 1.0, 2, 10),
        (10, None, 3, 1.0, 3, 10),
        (40, 8, None, 0.2, 1, 8),
        (40, None, None, 1.0, 1, 40),
    ],
)
def test_rate_steps_and_divisor_follow_from_the_method(
    examples, batch_size, epochs, rate, steps, divisor
):
    found = sgd(examples, batch_size, epochs, clipping_norm=0.7, noise_multiplier=1.3)
    assert found == DPSGD(
        learning_rate=0.3,
        clipping_norm=0.7,
        noise_multiplier=1.3,
        sample_rate=rate,
        steps=steps,
        expected_size=divisor,
    )


@pytest.mark.parametrize("sizes", [(40, 100, 400), (400, 100, 40), (100, 40, 400)])
def test_epsilon_is_that_of_the_least_protected_over_all_rounds(sizes):
    """By the accountant itself. One round less, or another party's rate, is another number."""
    privacy = RecordDP(noise_multiplier=1.5)
    parties = [sgd(n, 16, 2, noise_multiplier=1.5) for n in sizes]
    found = privacy.epsilon(1e-5, parties=parties, rounds=7)

    def account(n, rounds):
        return accounting.epsilon(
            noise_multiplier=1.5,
            sample_rate=16 / n,
            steps=rounds * 2 * math.ceil(n / 16),
            delta=1e-5,
        )

    assert found == account(40, 7)
    assert found > 1.05 * max(account(40, 6), account(100, 7), account(400, 7))


def test_more_steps_can_outweigh_a_higher_rate():
    few, many = DPSGD(sample_rate=0.2, steps=1), DPSGD(sample_rate=0.1, steps=500)
    assert few.epsilon(1e-5) < many.epsilon(1e-5)
    for parties in ([few, many], [many, few]):
        assert RecordDP().epsilon(1e-5, parties=parties, rounds=1) == many.epsilon(1e-5)


def test_without_noise_nothing_is_promised():
    free = sgd(10, None, 1, noise_multiplier=0.0)
    assert RecordDP(noise_multiplier=0.0).epsilon(1e-5, parties=[free], rounds=1) == math.inf


def test_no_two_parties_share_noise_and_only_a_seed_repeats_it():
    def draw(privacy, party):
        return privacy.generator(party).uint64(4)

    seeded, secure = RecordDP(seed=4), RecordDP()
    np.testing.assert_array_equal(draw(seeded, "a"), draw(seeded, "a"))
    assert not np.array_equal(draw(seeded, "a"), draw(seeded, "b"))
    assert not np.array_equal(draw(seeded, "a"), draw(RecordDP(seed=5), "a"))
    assert not np.array_equal(draw(secure, "a"), draw(secure, "a"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RecordDP(clipping_norm=0), "clipping_norm must be positive"),
        (lambda: RecordDP(noise_multiplier=-1), "noise_multiplier must be finite"),
        (lambda: sgd(0, 16, 1), "examples must be a whole number of at least 1"),
        (lambda: RecordDP().epsilon(1e-5, parties=[DPSGD()], rounds=0), "rounds must be a whole"),
    ],
)
def test_bad_numbers_are_an_error(make, message):
    with pytest.raises(ValueError, match=message):
        make()
