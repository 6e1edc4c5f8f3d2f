import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from refimpl.learning import partition

LABELS = np.repeat(np.arange(10), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180])


def assert_everything_once(parts, labels, participants):
    assert len(parts) == participants
    assert sorted(np.concatenate(parts)) == list(range(len(labels)))
    assert min(map(len, parts)) >= 1


@settings(deadline=None)
@given(st.data())
def test_every_row_goes_to_exactly_one_participant(data):
    labels = np.array(data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=60)))
    participants = data.draw(st.integers(1, len(labels)))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    alpha = data.draw(st.sampled_from([1e-9, 1e-3, 0.1, 1.0, 1e6]))
    for parts in (
        partition.iid(labels, participants, rng),
        partition.dirichlet(labels, participants, rng, alpha=alpha),
    ):
        assert_everything_once(parts, labels, participants)
        sizes = [len(part) for part in parts]
        assert max(sizes) - min(sizes) <= 1


@settings(deadline=None)
@given(st.data())
def test_by_label_gives_exactly_so_many_labels(data):
    kinds = data.draw(st.integers(1, 6))
    each = data.draw(st.integers(1, kinds))
    participants = data.draw(st.integers(-(-kinds // each), 12))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    labels = rng.permutation(np.repeat(np.arange(kinds) * 3, rng.integers(12, 20, kinds)))
    parts = partition.by_label(labels, participants, rng, labels_per_participant=each)
    assert_everything_once(parts, labels, participants)
    assert {len(np.unique(labels[part])) for part in parts} == {each}
    holders = [sum(kind in labels[part] for part in parts) for kind in np.unique(labels)]
    assert max(holders) - min(holders) <= 1


def test_iid_gives_each_row_to_each_participant_equally_often():
    # 20,000 splits of 12 rows among 4. A split hands out exactly 3 rows each, which shrinks
    # Pearson's statistic by 11/12. By chance the p-value is below 1e-7 once in 1e7; a row that
    # goes to one participant with probability 0.29 instead of 0.25 is seen 999 times in 1000.
    rng = np.random.default_rng(0)
    counts = np.zeros((4, 12))
    for _ in range(20_000):
        for k, part in enumerate(partition.iid(np.zeros(12), 4, rng)):
            counts[k, part] += 1
    statistic = 11 / 12 * ((counts - 5000) ** 2 / 5000).sum()
    assert stats.chi2.sf(statistic, df=33) > 1e-7


def test_by_label_deals_labels_and_rows_at_random():
    # each of 4 participants holds 1 of 2 labels: participant 0 has label 0 in half of all splits.
    # 4000 splits, bound 5.4 standard deviations (chance 7e-8); 0.6 instead of 0.5 is always seen.
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 8)
    parts = [partition.by_label(labels, 4, rng, labels_per_participant=1)[0] for _ in range(4000)]
    assert abs(np.mean([labels[part[0]] == 0 for part in parts]) - 0.5) < 5.4 * 0.5 / 4000**0.5
    # and among the splits in which it has label 0, row 0 is one of its four in half of them
    mine = [part for part in parts if labels[part[0]] == 0]
    assert abs(np.mean([0 in part for part in mine]) - 0.5) < 5.4 * 0.5 / len(mine) ** 0.5


def test_by_label_combines_labels_at_random():
    # 2 participants, 2 of 4 labels each: label 0 meets label 1 in a third of all splits. 2000
    # splits, bound 5.4 standard deviations (chance 7e-8); half instead of a third is always seen.
    rng = np.random.default_rng(0)
    labels = np.arange(4)
    met = [
        {0, 1} in [set(part) for part in partition.by_label(labels, 2, rng)] for _ in range(2000)
    ]
    assert abs(np.mean(met) - 1 / 3) < 5.4 * np.sqrt(2 / 9 / 2000)


@pytest.mark.parametrize("alpha", [0.05, 0.5, 5.0, 1e4])
def test_dirichlet_follows_its_distribution(alpha):
    """The first row of counts is Dirichlet-multinomial: mean n·p, variance
    n·p(1−p)·(n + alpha)/(1 + alpha), with p the (unequal) mixture of all examples.

    10,000 draws. Means are held to 5.5 standard errors (5 labels × 4 alphas: chance 8e-7 in
    all), variances to 30 %, over 8 of their standard errors. The frequent error of alpha for each
    label, in place of alpha for all, divides the variance by 2.2 at 0.5 and by 3 at 5; p replaced
    by 1/5 moves a mean by over 20 errors.
    """
    rng = np.random.default_rng(0)
    available = np.array([40, 60, 100, 120, 280])
    n, p = 40, available / available.sum()
    rows = np.array(
        [
            partition.dirichlet_counts(available, np.array([n]), rng, alpha=alpha)[0]
            for _ in range(10_000)
        ]
    )
    variance = n * p * (1 - p) * (n + alpha) / (1 + alpha)
    assert (np.abs(rows.mean(axis=0) - n * p) < 5.5 * np.sqrt(variance / 10_000)).all()
    np.testing.assert_allclose(rows.var(axis=0), variance, rtol=0.3)


@settings(deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([1e-9, 0.1, 10.0]))
def test_dirichlet_counts_take_what_there_is(seed, alpha):
    rng = np.random.default_rng(seed)
    available = rng.integers(1, 50, 4)
    sizes = rng.multinomial(available.sum(), [0.1, 0.2, 0.3, 0.4])
    counts = partition.dirichlet_counts(available, sizes, rng, alpha=alpha)
    assert (counts >= 0).all()
    assert counts.sum(axis=0).tolist() == available.tolist()
    assert counts.sum(axis=1).tolist() == sizes.tolist()


def test_dirichlet_is_more_skewed_for_smaller_alpha():
    def largest_share(alpha):
        rng = np.random.default_rng(0)
        parts = partition.dirichlet(LABELS, 10, rng, alpha=alpha)
        return np.mean([np.bincount(LABELS[part]).max() / len(part) for part in parts])

    shares = [largest_share(alpha) for alpha in (0.01, 0.3, 10.0, 1e6)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.7
    assert shares[-1] < 0.2  # 144 draws from 10 equal labels: the largest is about 0.14


def test_dirichlet_favours_no_name():
    """Without random turns, participant 0 would choose first and the last take what is left.

    600 splits among 5 at alpha = 0.1, labels in unequal numbers: the mean difference between the
    largest shares of first and last is held to 5.5 standard errors (chance 4e-8). In fixed turns it
    would be 17 errors.
    """
    labels = np.repeat([0, 1, 2], [10, 20, 70])
    rng = np.random.default_rng(0)
    differences = []
    for _ in range(600):
        first, *_, last = (
            np.bincount(labels[part]).max() / len(part)
            for part in partition.dirichlet(labels, 5, rng, alpha=0.1)
        )
        differences.append(first - last)
    assert abs(np.mean(differences)) < 5.5 * np.std(differences) / 600**0.5


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (lambda rng: partition.iid(LABELS[:3], 4, rng), "participants must be between 1 and .*=3"),
        (lambda rng: partition.iid(LABELS, 0, rng), "got 0"),
        (lambda rng: partition.dirichlet(LABELS, 3, rng, alpha=0.0), "alpha must be above 0"),
        (lambda rng: partition.dirichlet(LABELS, 3, rng, alpha=np.inf), "alpha must be above 0"),
        (
            lambda rng: partition.by_label(LABELS, 3, rng, labels_per_participant=11),
            "between 1 and the number of labels=10, got 11",
        ),
        (
            lambda rng: partition.by_label(LABELS, 3, rng, labels_per_participant=2),
            "at least the number of labels=10 .* got 6",
        ),
        (
            lambda rng: partition.by_label(np.arange(2), 2, rng, labels_per_participant=2),
            "label 0 must have an example for each of its 2 holders, got 1",
        ),
    ],
)
def test_impossible_divisions_are_refused(split, message):
    with pytest.raises(ValueError, match=message):
        split(np.random.default_rng(0))
