"""Private logistic regression at the server, by diffprivlib: the baseline of the direct approach.

One logistic regression for each class against the others, w_c = argmin over w of

    Σ_i log(1 + exp(-y_i w·z_i)) + ridge/2 ‖w‖² + b·w,    ‖b‖ ~ Gamma(d, 2 / ε'), in any direction,

with z = (x', 1) / √2 and x' = x / data_norm, clipped to length 1. The epsilon is divided among the
classes. A class scores by w·z, which is a linear model of x.
Source: Chaudhuri, Monteleoni and Sarwate, JMLR 2011, algorithm 2 (objective perturbation), as in
``diffprivlib.models.LogisticRegression`` (Holohan et al. 2019).

Rows are scaled to length 1 here and the constant is one of the features, which is penalised: then
all that the theorem asks for holds. For longer rows diffprivlib 0.6.6 puts ``data_norm`` where the
theorem, scaled to that length, has its square, and the loss can exceed epsilon: at norm 8, ridge 1
and epsilon 2.25 it is 2.8 (the test has the densities). It also leaves the intercept unpenalised.

Neighbours: one record replaced by any other. How many there are is public, and that each class
occurs. Adversary: whoever sees the model. The server sees every record, and is trusted. Not
covered: the minimum is found up to a tolerance, in floating point, with noise in floating point.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from refimpl.collaboration.direct import check_upload, participant
from refimpl.collaboration.run import (
    SERVER,
    Report,
    Setting,
    cast_like,
    check_positive,
    make_floats,
)
from refimpl.collaboration.two_servers import check_linear
from refimpl.learning import Examples, Model
from refimpl.learning.parameters import flatten
from refimpl.network import Link
from refimpl.network.runner import Role


@dataclass(frozen=True, kw_only=True)
class PrivateLogisticRegression:
    """Logistic regression at ``epsilon``, for a linear task, as ``two_servers.linear`` makes one.

    ``data_norm``: length to which rows are clipped; state it without a look at the data. ``ridge``:
    the penalty, 1 / C in scikit-learn. ``seed``: ``random_state`` of diffprivlib; a number gives
    noise that repeats itself, for teaching and tests; IT PROTECTS NOBODY. One round does it all:
    with more rounds nothing more is computed, and the score stays.
    """

    epsilon: float = 1.0
    data_norm: float = 1.0
    ridge: float = 1.0
    seed: int | None = None

    def __post_init__(self) -> None:
        check_positive(epsilon=self.epsilon, data_norm=self.data_norm, ridge=self.ridge)
        make_floats(self, "epsilon", "data_norm", "ridge")

    def spent(self, delta: float = 0.0) -> float:
        """The epsilon of one record, at any delta."""
        if not 0 <= delta < 1:
            raise ValueError(f"delta must be at least 0 and below 1, got {delta}")
        return self.epsilon

    def fit(self, examples: Examples, classes: int) -> np.ndarray:
        """Parameters of a linear model, ``(classes * (inputs + 1),)``, float64.

        Raises ValueError unless each of at least two classes occurs.
        """
        found = np.unique(examples.y)
        if classes < 2 or len(found) != classes:
            raise ValueError(
                f"each of 2 or more classes={classes} must occur, got {found.tolist()}"
            )
        rows = self._rows(examples.x)
        with warnings.catch_warnings():  # of scipy, about an option that diffprivlib sets
            warnings.filterwarnings("ignore", ".*L-BFGS-B", DeprecationWarning)
            coefficients = self._regression().fit(rows, examples.y).coef_ / math.sqrt(2)
        if classes == 2:  # one line for both, and class 0 scores 0
            coefficients = np.vstack([np.zeros_like(coefficients), coefficients])
        weights, bias = coefficients[:, :-1] / self.data_norm, coefficients[:, -1]
        return flatten([weights, bias])

    def _rows(self, x: np.ndarray) -> np.ndarray:
        """z: of length 1 at most, (n, inputs + 1)."""
        scaled = x.astype(np.float64) / self.data_norm
        scaled /= np.maximum(1, np.linalg.norm(scaled, axis=1, keepdims=True))
        return np.hstack([scaled, np.ones((len(x), 1))]) / math.sqrt(2)

    def _regression(self) -> Any:
        from diffprivlib.models import LogisticRegression  # type: ignore[import-untyped]

        return LogisticRegression(
            epsilon=self.epsilon,
            data_norm=1.0,
            C=1 / self.ridge,
            fit_intercept=False,
            tol=1e-6,
            max_iter=10_000,
            random_state=self.seed,
        )

    def direct_roles(self, setting: Setting) -> dict[str, Role]:
        """The roles: each participant knows its examples, the server what to do with all."""
        task, parameters = setting.task, setting.task.initial_parameters()
        check_linear(self, task.model)
        if task.kind != "classification":
            raise ValueError(f"the task must have classes, got {task.model}")
        roles: dict[str, Role] = {
            name: partial(participant, examples=examples, parameters=parameters)
            for name, examples in task.data.items()
        }
        roles[SERVER] = partial(
            server,
            participants=task.participants,
            at_least=setting.at_least,
            method=self,
            model=task.model,
            parameters=parameters,
            rounds=setting.rounds,
            report=setting.report,
        )
        return roles


async def server(
    link: Link,
    participants: Sequence[str],
    at_least: int | None,
    method: PrivateLogisticRegression,
    model: Model,
    parameters: np.ndarray,
    rounds: int,
    report: Report,
) -> None:
    """Pool the uploads in name order, fit once, hand the model to every participant."""
    uploads = await link.gather(participants, "examples", at_least=at_least)
    for name, upload in uploads.items():
        check_upload(upload, model, sender=name)
    examples = Examples.concatenate(Examples(sent["x"], sent["y"]) for sent in uploads.values())
    parameters = cast_like(method.fit(examples, model.outputs), parameters, sender=[*uploads])
    for round in range(rounds):
        report(round, parameters)
    await link.broadcast(participants, "model", parameters)
