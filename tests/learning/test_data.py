import gzip
import struct
from itertools import pairwise

import numpy as np
import pytest
from sklearn import datasets

from refimpl import learning
from refimpl.learning.training import LocalTraining, sgd

LOADERS = {
    "digits": learning.digits,
    "breast cancer": learning.breast_cancer,
    "diabetes": learning.diabetes,
}
LABELS = {"digits": 10, "breast cancer": 2, "diabetes": 5}


@pytest.mark.parametrize("name", LOADERS)
def test_learning_and_test_examples_are_the_whole_set_once(name):
    task = LOADERS[name](7, seed=5)
    sizes = {"digits": (1437, 360), "breast cancer": (455, 114), "diabetes": (353, 89)}
    pooled = task.pooled()
    assert (len(pooled), len(task.test)) == sizes[name]
    assert task.name == name
    if name == "digits":
        original, _ = datasets.load_digits(return_X_y=True)
        found = np.concatenate([pooled.x, task.test.x]) * 16
        assert sorted(map(bytes, found.astype(np.uint8))) == sorted(
            map(bytes, original.astype(np.uint8))
        )


def test_labels_stay_with_their_examples():
    original = {
        bytes(x.astype(np.uint8)): y
        for x, y in zip(*datasets.load_digits(return_X_y=True), strict=True)
    }
    task = learning.digits(10, "by-label", seed=0)
    for examples in (*task.data.values(), task.test):
        for x, y in zip(examples.x, examples.y, strict=True):
            assert original[bytes((x * 16).astype(np.uint8))] == y


@pytest.mark.parametrize("load", [learning.digits, learning.breast_cancer])
def test_the_test_set_has_the_mixture_of_the_whole(load):
    task = load(3, seed=1)
    counts = np.bincount(task.test.y)
    whole = counts + np.bincount(task.pooled().y)
    assert (np.abs(counts - 0.2 * whole) <= 1).all()


@pytest.mark.parametrize("name", ["breast cancer", "diabetes"])
def test_measurements_of_the_hospitals_are_centred_and_scaled(name):
    pooled = LOADERS[name](4, seed=0, examples_per_participant=30).pooled()
    np.testing.assert_allclose(pooled.x.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(pooled.x.std(axis=0), 1, atol=1e-5)
    if name == "diabetes":
        assert pooled.y.mean() == pytest.approx(0, abs=1e-5)
        assert pooled.y.std() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", ["breast_cancer", "diabetes"])
def test_nothing_is_computed_from_test_examples(name, monkeypatch):
    """Test rows a thousand times larger change nothing that a hospital holds."""
    load = getattr(learning, name)
    before = load(3, seed=0)
    original = getattr(datasets, f"load_{name}")

    def altered(**arguments):
        x, y = original(**arguments)
        held = learning.data._held_back(learning.data._quintiles(y) if y.max() > 9 else y, 0)
        x[held] *= 1000
        return x, y

    monkeypatch.setattr(datasets, f"load_{name}", altered)
    after = load(3, seed=0)
    assert np.abs(after.test.x).max() > 100 * np.abs(before.test.x).max()
    for participant in before.participants:
        assert np.array_equal(before.data[participant].x, after.data[participant].x)


def test_pixels_are_divided_by_the_largest_possible_value():
    task = learning.digits(2)
    assert (task.pooled().x.min(), task.pooled().x.max()) == (0, 1)


@pytest.mark.parametrize("load", LOADERS.values(), ids=LOADERS)
@pytest.mark.parametrize(
    ("division", "options"), [("iid", {}), ("by-label", {}), ("dirichlet", {"alpha": 0.3})]
)
def test_every_partition_works_on_every_set_and_repeats(load, division, options):
    one, same, other = (load(10, division, seed=seed, **options) for seed in (3, 3, 4))
    assert one.participants == tuple(f"hospital {k}" for k in range(10))
    for name in one.participants:
        assert np.array_equal(one.data[name].x, same.data[name].x)
        assert np.array_equal(one.data[name].y, same.data[name].y)
    assert not np.array_equal(one.pooled().x, other.pooled().x)
    assert not np.array_equal(one.test.x, other.test.x)


def test_by_label_defaults():
    digits = learning.digits(10, "by-label")
    assert {len(np.unique(part.y)) for part in digits.data.values()} == {2}
    cancer = learning.breast_cancer(4, "by-label")
    assert {len(np.unique(part.y)) for part in cancer.data.values()} == {1}
    three = learning.digits(10, "by-label", labels_per_participant=3)
    assert {len(np.unique(part.y)) for part in three.data.values()} == {3}


def test_by_label_on_a_regression_gives_fifths_of_the_target():
    task = learning.diabetes(5, "by-label", labels_per_participant=1, seed=0)
    ranges = sorted((part.y.min(), part.y.max()) for part in task.data.values())
    for (_, top), (bottom, _) in pairwise(ranges):
        assert top <= bottom


def test_name_order_is_number_order():
    names = learning.digits(12).participants
    assert list(names) == sorted(names) == [f"hospital {k:02d}" for k in range(12)]


def test_few_labelled_cases():
    full, few = (
        learning.digits(10, seed=0, examples_per_participant=number) for number in (None, 20)
    )
    for name in few.participants:
        assert len(few.data[name]) == 20
        assert {row.tobytes() for row in few.data[name].x} <= {
            row.tobytes() for row in full.data[name].x
        }
        assert len(np.unique(few.data[name].y)) > 3  # a random subset, not the first rows by label
    thinned = learning.digits(10, "by-label", seed=0, examples_per_participant=40)
    assert {len(np.unique(part.y)) for part in thinned.data.values()} == {2}
    skewed = learning.digits(10, "by-label", seed=0, examples_per_participant=143)
    whole = learning.digits(10, "by-label", seed=0)
    for name, part in skewed.data.items():
        assert len(part) == min(143, len(whole.data[name]))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: learning.digits(10, "random"), "partition must be one of .*'random'"),
        (lambda: learning.digits(10, "dirichlet"), "alpha must be given .* alpha=0.5"),
        (lambda: learning.digits(10, alpha=1.0), "alpha must come with partition='dirichlet'"),
        (
            lambda: learning.digits(10, "dirichlet", alpha=1.0, labels_per_participant=2),
            "labels_per_participant must come with partition='by-label'",
        ),
        (lambda: learning.digits(0), "participants must be between 1 and"),
        (lambda: learning.diabetes(354), "number of examples=353, got 354"),
        (
            lambda: learning.digits(10, examples_per_participant=145),
            "examples_per_participant must be between 1 and 144",
        ),
        (lambda: learning.digits(10, examples_per_participant=0), "between 1 and 144"),
        (
            lambda: learning.breast_cancer(model="cnn"),
            r"model must be one of \('mlp',\) for breast",
        ),
        (lambda: learning.digits(model="transformer"), r"\('mlp', 'cnn'\) for digits"),
    ],
)
def test_options_that_cannot_be_met_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_an_unknown_option_is_refused():
    with pytest.raises(TypeError, match=r"got \{'colour'\}"):
        learning.digits(colour="red")


def test_models_fit_their_data():
    assert learning.digits().model == learning.mlp(64, 32, 10)
    assert learning.digits(hidden=(20, 15)).model == learning.mlp(64, (20, 15), 10)
    assert learning.digits(model="cnn").model == learning.cnn((1, 8, 8), (8, 16), 10)
    assert learning.digits(model="cnn", hidden=4).model == learning.cnn((1, 8, 8), (4,), 10)
    assert learning.breast_cancer().model == learning.mlp(30, 32, 2)
    assert learning.diabetes().model == learning.mlp(10, 32, 1, objective="squared error")


def test_twenty_hospitals_learn_more_together_than_alone():
    """The ordering of Shokri and Shmatikov 2015, with much room: over seeds 0 to 9 the pooled
    accuracy lay between 0.958 and 0.975 and the mean alone between 0.825 and 0.869."""
    task = learning.digits(20, seed=0)
    start = task.initial_parameters()
    jobs = [
        LocalTraining(task.model, start, part.x, part.y, 0.1, 100, 16, task.generator("b", name))
        for name, part in task.data.items()
    ]
    alone = np.mean([task.accuracy(found) for found in LocalTraining.run_together(jobs)])
    pooled = sgd(
        task.model,
        start,
        task.pooled(),
        learning_rate=0.1,
        epochs=30,
        batch_size=16,
        rng=task.generator("b"),
    )
    assert 0.75 < alone < 0.91
    assert task.accuracy(pooled) > 0.95


@pytest.mark.parametrize(
    ("load", "least"), [(learning.breast_cancer, 0.93), (learning.diabetes, 0.3)]
)
def test_the_measured_sets_can_be_learned(load, least):
    """Well-known levels: about 0.97 accuracy, and R² about 0.45 (linear regression)."""
    task = load(10, seed=0)
    found = sgd(
        task.model,
        task.initial_parameters(),
        task.pooled(),
        learning_rate=0.02,
        epochs=20,
        batch_size=16,
        rng=task.generator("b"),
    )
    assert task.accuracy(found) > least


def write_idx(path, array):
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    raw = head + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)


@pytest.fixture
def idx_folder(tmp_path):
    rng = np.random.default_rng(0)
    for part, n, ending in (("train", 30, ""), ("t10k", 12, ".gz")):
        labels = np.arange(n) % 10
        images = rng.integers(0, 256, (n, 6, 5))
        images[:, 0, 0] = labels  # the first pixel tells the label
        images[:, 0, 1] = 255
        write_idx(tmp_path / f"{part}-images-idx3-ubyte{ending}", images)
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte{ending}", labels)
    return tmp_path


def test_mnist_reads_its_four_files_plain_or_packed(idx_folder):
    task = learning.mnist(idx_folder, 3, seed=0)
    assert (len(task.pooled()), len(task.test)) == (30, 12)
    assert task.test.y.tolist() == [k % 10 for k in range(12)]
    for examples in (task.pooled(), task.test):
        assert np.rint(examples.x[:, 0] * 255).astype(int).tolist() == examples.y.tolist()
        assert examples.x.max() == 1
    assert task.model == learning.mlp(30, 128, 10)
    assert learning.mnist(idx_folder, 3, model="cnn").model == learning.cnn((1, 6, 5), (8, 16), 10)


def test_the_seed_moves_the_partition_though_the_test_set_is_given(idx_folder):
    one, other = (learning.mnist(idx_folder, 3, seed=seed) for seed in (0, 1))
    assert np.array_equal(one.test.x, other.test.x)
    assert not np.array_equal(one.pooled().x, other.pooled().x)


def test_mnist_says_what_is_missing_and_downloads_nothing(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"train-images-idx3-ubyte.*not\s+downloaded.*LeCun"
    ):
        learning.mnist(tmp_path)


@pytest.mark.parametrize("damage", ["header", "short", "labels"])
def test_mnist_refuses_damaged_files(idx_folder, damage):
    path = idx_folder / "train-images-idx3-ubyte"
    raw = path.read_bytes()
    if damage == "header":
        path.write_bytes(b"\x00\x00\x0d\x03" + raw[4:])
    elif damage == "short":
        path.write_bytes(raw[:-1])
    else:
        write_idx(idx_folder / "train-labels-idx1-ubyte", np.arange(29) % 10)
    with pytest.raises(ValueError, match=r"IDX file of unsigned bytes|must have one label"):
        learning.mnist(idx_folder)
