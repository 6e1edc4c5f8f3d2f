"""Small real data sets, divided among simulated hospitals.

The sets come with scikit-learn, so nothing is downloaded: ``digits`` (1797 images of 8×8 pixels,
10 classes), ``breast_cancer`` (569 cases, 30 measurements, 2 classes), ``diabetes`` (442 patients,
10 measurements, a number to predict). :func:`mnist` reads files that the reader already has.

Test examples are set aside first, with the mixture of labels of the whole set, and nothing is
computed from them. **Scaling, and what it tells**: pixels are divided by their largest possible
value, which is public. Measurements are centred and scaled by mean and deviation of the
participants' examples. Hospitals can find these from three sums each (count, Σx, Σx²), added up;
here they are taken as agreed beforehand, so no transcript holds them. Whoever sees a hospital's
own sums learns about its patients: where that matters, send them through secure aggregation or
with noise, like any other contribution. The epsilon of a run does not pay for the scaling: it
holds as if mean and deviation had been public.
"""

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np

from refimpl.learning import models, partition, streams
from refimpl.learning.model import Model
from refimpl.learning.task import Examples, Task


class Options(TypedDict, total=False):
    """Keywords that all data sets take.

    ``alpha``: for partition "dirichlet". ``labels_per_participant``: for "by-label" (2; 1 where
    there are only two labels). ``examples_per_participant``: keep at most this many of each
    (None: all). ``model``: "mlp" or, for images, "cnn". ``hidden``: widths of the hidden layers of
    an MLP, or channels of the convolutions of a CNN. ``device``: where torch computes ("cpu").
    """

    alpha: float
    labels_per_participant: int
    examples_per_participant: int | None
    model: str
    hidden: int | tuple[int, ...]
    device: str


@dataclass(frozen=True)
class _Source:
    """A whole data set: ``test`` rows are held back; ``image`` is (channels, height, width)."""

    name: str
    x: np.ndarray
    y: np.ndarray
    kind: str
    test: np.ndarray
    image: tuple[int, int, int] | None = None


def digits(
    participants: int = 10, partition: str = "iid", *, seed: int = 0, **options: Unpack[Options]
) -> Task:
    """Handwritten digits, 8×8 pixels in 0..1, 1437 to learn from and 360 to test.

    Args:
        participants: how many hospitals.
        partition: "iid", "by-label" or "dirichlet" (with ``alpha``).
        seed: of test split, partition and initial parameters.
        options: see :class:`Options`; the model is an MLP 64-32-10 unless told otherwise.

    Raises:
        ValueError: an option that cannot be met; the message names it and what to do.
    """
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    test = _held_back(y, seed)
    source = _Source("digits", x / 16, y, "classification", test, image=(1, 8, 8))
    return _task(source, participants, partition, seed, options)


def breast_cancer(
    participants: int = 10, partition: str = "iid", *, seed: int = 0, **options: Unpack[Options]
) -> Task:
    """Benign or malignant from 30 measurements: 455 cases to learn from and 114 to test.

    Arguments and errors as for :func:`digits`; the model is an MLP 30-32-2.
    """
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    source = _Source("breast cancer", x, y, "classification", _held_back(y, seed))
    return _task(source, participants, partition, seed, options)


def diabetes(
    participants: int = 10, partition: str = "iid", *, seed: int = 0, **options: Unpack[Options]
) -> Task:
    """Progression of diabetes after a year: 353 patients to learn from and 89 to test.

    The target too is centred and scaled, so a loss of 1 is that of guessing the mean. For the
    partition, a patient's label is the fifth of the patients (quintile) its target falls into.
    Arguments and errors as for :func:`digits`; the model is an MLP 10-32-1 with squared error.
    """
    from sklearn.datasets import load_diabetes

    x, y = load_diabetes(return_X_y=True, scaled=False)
    source = _Source("diabetes", x, y, "regression", _held_back(_quintiles(y), seed))
    return _task(source, participants, partition, seed, options)


def mnist(
    path: str | Path,
    participants: int = 10,
    partition: str = "iid",
    *,
    seed: int = 0,
    **options: Unpack[Options],
) -> Task:
    """MNIST from its four IDX files in the folder ``path``, plain or ending in ``.gz``.

    60,000 images of 28×28 pixels in 0..1 to learn from, and the set's own 10,000 to test.
    Arguments as for :func:`digits`; the model is an MLP 784-128-10.

    Raises:
        FileNotFoundError: a file is not there (nothing is downloaded).
        ValueError: a file is not what its name says, or as for :func:`digits`.
    """
    folder = Path(path)
    x = [_idx(folder, f"{part}-images-idx3-ubyte", 3) for part in ("train", "t10k")]
    y = [_idx(folder, f"{part}-labels-idx1-ubyte", 1) for part in ("train", "t10k")]
    if [len(part) for part in x] != [len(part) for part in y]:
        raise ValueError(f"each image in {folder} must have one label, got other numbers of labels")
    height, width = x[0].shape[1:]
    pixels = np.concatenate([part.reshape(len(part), -1) for part in x]).astype(np.float32) / 255
    test = np.arange(len(x[0]), len(pixels))
    labels = np.concatenate(y)
    source = _Source("MNIST", pixels, labels, "classification", test, image=(1, height, width))
    options.setdefault("hidden", (8, 16) if options.get("model") == "cnn" else (128,))
    return _task(source, participants, partition, seed, options)


def _task(source: _Source, participants: int, division: str, seed: int, options: Options) -> Task:
    unknown = set(options) - set(Options.__annotations__)
    if unknown:
        raise TypeError(f"options must be among {sorted(Options.__annotations__)}, got {unknown}")
    model = _model(source, options)
    learn = np.setdiff1d(np.arange(len(source.y)), source.test)
    labels = source.y[learn] if source.kind == "classification" else _quintiles(source.y[learn])
    rng = streams.generator(seed, "partition")
    parts = [learn[rows] for rows in _divide(labels, participants, division, rng, options)]
    parts = _at_most(options.get("examples_per_participant"), parts, rng)
    x, y = _scaled(source, np.concatenate(parts))
    names = [f"hospital {k:0{len(str(participants - 1))}d}" for k in range(participants)]
    data = {name: Examples(x[rows], y[rows]) for name, rows in zip(names, parts, strict=True)}
    test = Examples(x[source.test], y[source.test])
    return Task(source.name, model, tuple(names), data, test, seed)


def _held_back(labels: np.ndarray, seed: int) -> np.ndarray:
    """A fifth of the rows, with the same mixture of labels as the whole."""
    from sklearn.model_selection import train_test_split

    state = int(streams.generator(seed, "test split").integers(2**32))
    rows = np.arange(len(labels))
    return np.sort(train_test_split(rows, test_size=0.2, stratify=labels, random_state=state)[1])


def _divide(
    labels: np.ndarray,
    participants: int,
    division: str,
    rng: np.random.Generator,
    options: Options,
) -> list[np.ndarray]:
    belongs = {"alpha": "dirichlet", "labels_per_participant": "by-label"}
    ways: dict[str, Callable[..., list[np.ndarray]]] = {
        "iid": partition.iid,
        "by-label": partition.by_label,
        "dirichlet": partition.dirichlet,
    }
    if division not in ways:
        raise ValueError(f"partition must be one of {tuple(ways)}, got {division!r}")
    for name, way in belongs.items():
        if name in options and way != division:
            raise ValueError(f"{name} must come with partition={way!r}, got {division!r}")
    given: dict[str, Any] = {name: options[name] for name in belongs if name in options}  # type: ignore[literal-required]
    if division == "dirichlet" and not given:
        raise ValueError("alpha must be given with partition='dirichlet', for example alpha=0.5")
    if division == "by-label" and not given:
        given = {"labels_per_participant": 1 if len(np.unique(labels)) == 2 else 2}
    return ways[division](labels, participants, rng, **given)


def _at_most(
    number: int | None, parts: list[np.ndarray], rng: np.random.Generator
) -> list[np.ndarray]:
    """A random subset of each part, of at most ``number`` rows."""
    largest = max(map(len, parts))
    if number is not None and not 1 <= number <= largest:
        raise ValueError(
            f"examples_per_participant must be between 1 and {largest}, the most that a "
            f"participant has here, got {number}"
        )
    return [rng.permutation(part)[:number] for part in parts]


def _scaled(source: _Source, held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inputs, and for regression the target, by the statistics of the rows that hospitals hold."""
    x, y = source.x, source.y
    if source.image is None:
        deviation = x[held].std(axis=0)
        # A measurement that is the same for all tells nothing: it becomes 0.
        x = (x - x[held].mean(axis=0)) / np.where(deviation > 0, deviation, np.inf)
    if source.kind == "regression":
        y = ((y - y[held].mean()) / (y[held].std() or 1.0)).astype(np.float32)
    return x, y


def _quintiles(y: np.ndarray) -> np.ndarray:
    return np.searchsorted(np.quantile(y, [0.2, 0.4, 0.6, 0.8]), y)


def _model(source: _Source, options: Options) -> Model:
    kind, device = options.get("model", "mlp"), options.get("device", "cpu")
    regression = source.kind == "regression"
    outputs = 1 if regression else int(source.y.max()) + 1
    objective = "squared error" if regression else "cross-entropy"
    if kind == "mlp":
        hidden = options.get("hidden", (32,))
        inputs = source.x.shape[1]
        return models.mlp(inputs, hidden, outputs, objective=objective, device=device)
    if kind != "cnn" or source.image is None:
        known = ("mlp", "cnn") if source.image else ("mlp",)
        raise ValueError(f"model must be one of {known} for {source.name}, got {kind!r}")
    channels = options.get("hidden", (8, 16))
    channels = (channels,) if isinstance(channels, int) else channels
    return models.cnn(source.image, channels, outputs, objective=objective, device=device)


def _idx(folder: Path, name: str, axes: int) -> np.ndarray:
    """One IDX file of bytes: 0, 0, 8 (unsigned byte), axes, each length as 4 bytes, the values."""
    plain, packed = folder / name, folder / f"{name}.gz"
    if plain.exists():
        raw = plain.read_bytes()
    elif packed.exists():
        raw = gzip.decompress(packed.read_bytes())
    else:
        raise FileNotFoundError(
            f"{plain} or {packed.name} must exist. MNIST is not part of this project and is not "
            f"downloaded: its authors Y. LeCun, C. Cortes and C. Burges published it as four "
            f"files, and many machine learning libraries keep them in their folder of data sets"
        )
    head = 4 + 4 * axes
    shape = tuple(np.frombuffer(raw[4:head], dtype=">u4").astype(int))
    if raw[:4] != bytes([0, 0, 8, axes]) or len(raw) != head + int(np.prod(shape)):
        raise ValueError(
            f"{name} must be an IDX file of unsigned bytes with {axes} axes, got header "
            f"{raw[:4].hex()} and {len(raw)} bytes"
        )
    return np.frombuffer(raw, dtype=np.uint8, offset=head).reshape(shape)
