import numpy as np
import pytest

from refimpl import learning
from refimpl.learning import Examples, Task


def small_task(kind="classification", **changes):
    x = np.array([[1.0], [2.0], [-1.0], [-2.0]])
    y = np.array([1, 1, 0, 1]) if kind == "classification" else np.array([1.0, 2.0, -1.0, -2.0])
    outputs, objective = (2, "cross-entropy") if kind == "classification" else (1, "squared error")
    data = {"a": Examples(x[:1], y[:1]), "b": Examples(x[1:], y[1:])}
    settings = {
        "name": "small",
        "model": learning.mlp(1, (), outputs, objective=objective),
        "participants": ("a", "b"),
        "data": data,
        "test": Examples(x, y),
        "seed": 3,
    }
    return Task(**(settings | changes))


def test_accuracy_is_the_share_classified_correctly():
    sign = np.array([-1.0, 1.0, 0.0, 0.0])  # class 1 where x > 0: wrong on the last example only
    assert small_task().accuracy(sign) == 0.75
    assert small_task().accuracy(-sign) == 0.25
    assert (small_task().kind, small_task().metric) == ("classification", "accuracy")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_parameters_that_are_not_finite_have_no_accuracy(bad):
    with pytest.raises(FloatingPointError, match="parameters and outputs must be finite"):
        small_task().accuracy(np.array([-1.0, 1.0, 0.0, bad]))


def test_a_bad_parameter_is_refused_where_the_outputs_do_not_show_it():
    """A bias of -inf before a ReLU makes a unit of 0, whatever comes in."""
    task = small_task(model=learning.mlp(1, 1, 2))
    with pytest.raises(FloatingPointError, match="parameters and outputs must be finite"):
        task.accuracy(np.array([1.0, -np.inf, 1.0, 1.0, 0.0, 0.0]))


def test_outputs_that_overflow_have_no_accuracy():
    with pytest.raises(FloatingPointError, match="parameters and outputs must be finite"):
        small_task().accuracy(np.array([-3e38, 3e38, 0.0, 0.0], np.float32))


def test_accuracy_of_a_regression_is_r_squared():
    task = small_task("regression")
    assert (task.kind, task.metric) == ("regression", "R²")
    assert task.accuracy(np.array([1.0, 0.0])) == 1  # prediction = x = y
    assert task.accuracy(np.array([0.0, 0.0])) == 0  # the mean
    # prediction 2x: residuals 1, 2, -1, -2: R² = 1 - 10/10; prediction x + 1: 1 - 4/10
    assert task.accuracy(np.array([2.0, 0.0])) == 0
    assert task.accuracy(np.array([1.0, 1.0])) == pytest.approx(0.6, rel=1e-12)


def test_r_squared_compares_with_the_mean_not_with_zero():
    x = np.array([[1.0], [2.0], [-1.0], [-2.0]])
    task = small_task("regression", test=Examples(x, x[:, 0] + 3))
    assert task.accuracy(np.array([0.0, 3.0])) == 0
    assert task.accuracy(np.array([1.0, 2.0])) == pytest.approx(0.6, rel=1e-12)


def test_loss_of_a_task_by_hand():
    task = small_task("regression")
    assert task.loss(np.array([0.0, 0.0]), task.test) == 2.5  # mean of 1, 4, 1, 4
    # zero parameters: both classes equally likely
    assert small_task().loss(np.zeros(4), small_task().test) == pytest.approx(np.log(2), rel=1e-12)


def test_examples_are_read_only_copies_of_the_stated_type():
    x, y = np.ones((2, 3)), np.array([1, 0], dtype=np.uint8)
    examples = Examples(x, y)
    x[:] = 5
    assert (examples.x == 1).all()
    assert (examples.x.dtype, examples.y.dtype) == (np.float32, np.int64)
    with pytest.raises(ValueError, match="read-only"):
        examples.x[0] = 2
    assert Examples(x, y.astype(float)).y.dtype == np.float32


def test_examples_take_and_concatenate():
    whole = Examples(np.arange(6).reshape(3, 2), np.arange(3))
    assert len(whole) == 3
    assert whole.take([2, 0]).y.tolist() == [2, 0]
    assert whole.take([2, 0]).x.tolist() == [[4, 5], [0, 1]]
    both = Examples.concatenate([whole.take([1]), whole.take([0, 2])])
    assert both.y.tolist() == [1, 0, 2]
    assert both.x.tolist() == [[2, 3], [0, 1], [4, 5]]


def test_examples_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match=r"got shapes \(3, 2\) and \(2,\)"):
        Examples(np.zeros((3, 2)), np.zeros(2, int))


def test_pooled_is_everyone_in_order():
    pooled = small_task().pooled()
    assert pooled.x[:, 0].tolist() == [1, 2, -1, -2]
    assert pooled.y.tolist() == [1, 1, 0, 1]


def test_restrict_leaves_one_hospital_alone():
    task = learning.digits(4, seed=2)
    alone = task.restrict("hospital 3", "hospital 1")
    assert alone.participants == ("hospital 1", "hospital 3")
    assert set(alone.data) == set(alone.participants)
    assert alone.data["hospital 3"] is task.data["hospital 3"]
    assert alone.test is task.test
    assert np.array_equal(alone.initial_parameters(), task.initial_parameters())


def test_restrict_refuses_strangers():
    task = small_task()
    with pytest.raises(ValueError, match=r"some of \('a', 'b'\), an argument each, got \['c'\]"):
        task.restrict("a", "c")
    with pytest.raises(ValueError, match="got none"):
        task.restrict()
    with pytest.raises(ValueError, match=r"an argument each, got \[\['a'\]\]"):
        task.restrict(["a"])


@pytest.mark.parametrize("names", [("b", "a"), ("a",), ("a", "b", "c"), ()])
def test_participants_must_be_the_sorted_names_of_the_data(names):
    with pytest.raises(ValueError, match="participants must be the names in data"):
        small_task(participants=names)


def test_streams_depend_on_the_task_s_seed_and_on_the_purpose():
    task, other = small_task(), small_task(seed=4)
    draws = [
        generator.integers(2**63)
        for generator in (
            task.generator("batches", "a"),
            task.generator("batches", "b"),
            task.generator("noise", "a"),
            other.generator("batches", "a"),
        )
    ]
    assert len(set(draws)) == 4
    assert task.generator("batches", "a").integers(2**63) == draws[0]


def test_the_start_depends_on_the_seed_only():
    one, same, other = (learning.digits(n, seed=s) for n, s in ((3, 0), (7, 0), (3, 1)))
    assert np.array_equal(one.initial_parameters(), same.initial_parameters())
    assert not np.array_equal(one.initial_parameters(), other.initial_parameters())
