import numpy as np
import pandas as pd
import pytest

from refimpl.arithmetic import randomness
from refimpl.notebook import Fresh, check


def square(x):
    return x * x


def mean_of(values, weights):
    return np.average(values, weights=weights)


INPUTS = [1, 2, 3]


@pytest.mark.parametrize("blank", [lambda x: None, lambda x: ..., lambda x: print(end="")])
def test_unanswered_is_no_error(blank, capsys):
    check(blank, like=square, on=INPUTS)
    assert capsys.readouterr().out.startswith("Not answered yet: complete your function")


def test_unanswered_names_the_function(capsys):
    def spread(x):
        raise NotImplementedError

    check(spread, like=square, on=INPUTS)
    assert "complete spread," in capsys.readouterr().out


def test_right_answer_is_told_how_much_was_checked(capsys):
    check(lambda x: x**2, like=square, on=INPUTS)
    check(lambda x: x**2, cases=[(3, 9)])
    assert capsys.readouterr().out == "Correct: 3 cases agree.\nCorrect: 1 case agrees.\n"


def test_wrong_answer_shows_the_first_counterexample(capsys):
    check(lambda x: 2 * x, like=square, on=[2, 3, 4])  # right for 2
    assert capsys.readouterr().out == "Not yet. For the input 3\n  expected: 9\n  got:      6\n"


def test_failing_answer_is_named_without_a_traceback(capsys):
    check(lambda x: x / 0, like=square, on=[2])
    out = capsys.readouterr().out
    assert out.endswith("got:      ZeroDivisionError: division by zero\n")
    assert "Traceback" not in out


def test_several_arguments_and_arrays(capsys):
    case = (np.array([1.0, 2.0]), np.array([3.0, 1.0]))
    check(lambda v, w: v @ w / w.sum(), like=mean_of, on=[case])
    check(lambda v, w: v.mean(), like=mean_of, on=[case])
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "Correct: 1 case agrees."
    assert out[1:] == [
        "Not yet. For the input [1., 2.], [3., 1.]",
        "  expected: 1.25",
        "  got:      1.5",
    ]


def test_later_none_is_a_counterexample(capsys):
    check(lambda x: 1 if x == 1 else None, like=square, on=INPUTS)
    assert capsys.readouterr().out.endswith("expected: 4\n  got:      None\n")


def test_tolerance_is_kept_and_a_hidden_difference_is_told(capsys):
    check(lambda x: x * x * (1 + 1e-6), like=square, on=[1.0], tolerance=1e-5)
    check(lambda x: x * x * (1 + 1e-6), like=square, on=[1.0], tolerance=1e-7)
    out = capsys.readouterr().out
    assert out.startswith("Correct") and "equal in the digits shown, different further on" in out


FRAME = pd.DataFrame({"a": ["x", "y"]})
WRONG = [
    (2**60, 2**60 + 1),  # equal as floats
    (np.uint64(2**63), np.uint64(2**63 + 1)),
    (np.zeros(3), np.zeros((3, 1))),  # would broadcast
    (np.zeros(3), 0.0),
    (True, 1),
    ("a", "b"),
    ("1", 1),
    ({"a": 1}, {"a": 1, "b": 2}),
    ({"a": 1}, [1]),
    ([np.zeros(2), np.zeros(3)], [np.zeros(2), np.ones(3)]),
    ([[1], [2, 3]], [[1], [2]]),
    ("x", None),
    ([1, None], [1, 2]),
    ("x", FRAME),
    (FRAME, "x"),
    (FRAME, FRAME.assign(a=["x", "z"])),
    (FRAME, FRAME.rename(columns={"a": "b"})),  # pandas refuses to compare these
    ({"a": FRAME}, {"a": FRAME[:1]}),
]


@pytest.mark.parametrize(("expected", "got"), WRONG)
def test_what_differs_is_not_correct(expected, got, capsys):
    check(lambda x: got, cases=[(1, expected)])
    assert capsys.readouterr().out.startswith(("Not yet", "Not answered"))


RIGHT = [
    (np.array([1, 2]), [1, 2]),
    (np.float32(0.5), 0.5),
    ({"a": np.ones(2)}, {"a": [1, 1]}),
    ([np.zeros(2), np.zeros(3)], (np.zeros(2), np.zeros(3))),
    (float("nan"), np.nan),
    ("a", "a"),
    (FRAME, FRAME.copy()),
]


@pytest.mark.parametrize(("expected", "got"), RIGHT)
def test_what_agrees_is_correct(expected, got, capsys):
    check(lambda x: got, cases=[(1, expected)])
    assert capsys.readouterr().out.startswith("Correct")


def test_each_call_has_its_own_input(capsys):
    def spoil(values):
        values *= 0
        return values

    check(spoil, like=np.negative, on=[np.zeros(2), np.ones(2)])
    assert "input [1., 1.]" in capsys.readouterr().out
    draws = [np.random.default_rng(1)]
    check(lambda rng: rng.normal(), like=lambda rng: rng.normal(), on=draws)
    assert capsys.readouterr().out.startswith("Correct")


def test_what_cannot_be_copied_is_made_afresh_for_each_call(capsys):
    draws = [(Fresh(lambda: randomness.seeded(1)), 3)]
    check(lambda rng, n: rng.bits(8, n), like=lambda rng, n: rng.bits(8, n), on=draws)
    check(lambda rng, n: rng.bits(9, n), like=lambda rng, n: rng.bits(8, n), on=draws)
    out = capsys.readouterr().out
    assert out.startswith("Correct") and "For the input a CryptoGenerator, 3" in out
    with pytest.raises(
        TypeError, match="cannot be copied"
    ):  # the exercise's fault, not the answer's
        check(lambda rng: 1, cases=[(randomness.seeded(1), 1)])


def test_output_never_holds_an_address(capsys):
    check(lambda rng: object(), like=lambda rng: {"a": object()}, on=[np.random.default_rng(1)])
    out = capsys.readouterr().out
    assert "0x" not in out and "a random generator" in out and "a object" in out


def test_long_arrays_are_cut_with_their_shape(capsys):
    check(lambda x: x, like=lambda x: x + 1, on=[np.zeros((30, 10))])
    out = capsys.readouterr().out
    assert "(30×10 array)" in out and len(out) < 1500


def test_faults_of_the_exercise_itself_are_errors():
    with pytest.raises(ValueError, match="either like= and on=, or cases="):
        check(square)
    with pytest.raises(ValueError, match="either like= and on=, or cases="):
        check(square, like=square, on=[1], cases=[(1, 1)])
    with pytest.raises(ValueError, match="either like= and on=, or cases="):
        check(square, like=square)
    with pytest.raises(ValueError, match="at least one case"):
        check(square, like=square, on=[])
    with pytest.raises(ValueError, match="must not be None"):
        check(square, like=lambda x: None, on=[1])
    with pytest.raises(ZeroDivisionError):
        check(square, like=lambda x: 1 / 0, on=[1])
