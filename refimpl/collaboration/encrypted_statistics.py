"""A linear model from encrypted sums alone: participants upload statistics, and no example.

Participant k computes, from its table [X Y] in fixed point, the sufficient statistics

    n_k,   1ᵀ[X Y],   Xᵀ[X Y]        (``normal_equations``, equation 1)

and contributes them, as one vector, to a sum under an ``Aggregation``: by default under a lattice
key that the participants share. From the sum alone the server solves ridge regression (equation
2). All are whole multiples of 4^-fraction_bits, and so is what is decrypted: the sums are exact.
For classes, Y is one-hot and the largest output wins.

Adversary: that of the aggregation. With its default, ``aggregation.Lattice``: an honest-but-curious
server that works with no participant; with any one it reads each participant's statistics.
Leaks: the sum of the statistics, to the server and to who decrypts, the number of all patients in
it; the model, to everybody. If all participants but one show theirs, the difference is the
statistics of that one, and if it has a single patient, that patient's record.
Lies: a participant may upload any statistics within the bound; see the aggregation.
Source: Hall, Fienberg and Nardi, Secure Multiple Linear Regression Based on Homomorphic
Encryption, Journal of Official Statistics, 2011, for the idea. Here it stands for Syed, Refaat and
Bouhali 2020, who learn from encrypted smart-grid data.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from refimpl.aggregation import Group, Lattice
from refimpl.arithmetic.checks import whole
from refimpl.collaboration.normal_equations import Aggregates
from refimpl.collaboration.run import (
    SERVER,
    Report,
    Setting,
    cast_like,
    make_floats,
    receive_like,
)
from refimpl.collaboration.two_servers import check_linear
from refimpl.learning import Examples, Model
from refimpl.learning.parameters import flatten
from refimpl.network import Link, MalformedMessage
from refimpl.network.runner import Role


@dataclass(frozen=True, kw_only=True)
class EncryptedStatistics:
    """Ridge regression from encrypted statistics, a method of ``direct.train``.

    ``ridge`` ≥ 0: the penalty on squared weights. ``aggregation``: how the sum is protected; its
    ``bound`` and ``bits`` are set here. A table's values are rounded to 2^-``fraction_bits``, and
    each statistic, which must be below 2^(bits-1) / 4^fraction_bits in magnitude, takes ``bits``.
    One round does it all: with more nothing more is sent, and the score stays.
    """

    ridge: float = 1.0
    aggregation: Any = field(default_factory=Lattice)
    fraction_bits: int = 12
    bits: int = 40

    def __post_init__(self) -> None:
        if not 0 <= self.ridge < float("inf"):
            raise ValueError(f"ridge must be finite and at least 0, got {self.ridge}")
        make_floats(self, "ridge")
        bits = whole("bits", self.bits, 2, 48)
        fraction_bits = whole("fraction_bits", self.fraction_bits, 0, 24)
        if not {"bound", "bits"} <= vars(self.aggregation).keys():
            raise ValueError(
                "aggregation must have a fixed point (Lattice(), Paillier(), "
                f"ThresholdPaillier(...), SecretSharing()), got {self.aggregation!r}"
            )
        # The bound at which one level is 4^-fraction_bits, so that no statistic is rounded.
        bound = (2 ** (bits - 1) - 1) / 4.0**fraction_bits
        protected = replace(self.aggregation, bound=bound, bits=bits)
        for name, value in (
            ("bits", bits),
            ("fraction_bits", fraction_bits),
            ("aggregation", protected),
        ):
            object.__setattr__(self, name, value)

    def statistics(self, examples: Examples, model: Model) -> np.ndarray:
        """What a participant contributes: n, 1ᵀ[X Y] and Xᵀ[X Y] in one row, float64, exact."""
        classes = model.objective == "cross-entropy"
        targets = np.eye(model.outputs)[examples.y] if classes else examples.y[:, None]
        table = np.hstack([examples.x.astype(np.float64), targets]) * 2.0**self.fraction_bits
        if not len(table) * np.abs(table).max(initial=0) ** 2 < 2**52:  # NaN fails as well
            raise ValueError(
                "rows·(largest value·2^fraction_bits)² must be below 2^52, got "
                f"{len(table)} rows and {np.abs(examples.x).max()} or a larger target: take fewer "
                "bits, or scale the data"
            )
        levels = np.rint(table).astype(np.int64)
        products = levels[:, : model.inputs].T @ levels
        sums = levels.sum(axis=0) * 2.0**self.fraction_bits
        count = len(levels) * 4.0**self.fraction_bits
        return np.concatenate([[count], sums, products.reshape(-1)]) / 4.0**self.fraction_bits

    def aggregates(self, total: np.ndarray, model: Model, who: Sequence[str]) -> Aggregates:
        """What the server makes of the sum; MalformedMessage, naming all, for what is no sum."""
        columns = model.inputs + model.outputs
        length = 1 + columns * (1 + model.inputs)
        found = np.rint(total * 4.0**self.fraction_bits).astype(np.int64)
        if len(found) == length:
            count, sums, products = np.split(found, [1, 1 + columns])
            units = 4**self.fraction_bits, 2**self.fraction_bits
            if count[0] > 0 and not (count[0] % units[0] or (sums % units[1]).any()):
                return Aggregates(
                    int(count[0]) // units[0],
                    sums // units[1],
                    products.reshape(model.inputs, columns),
                    self.fraction_bits,
                    tuple(who),
                )
        raise MalformedMessage(
            f"the statistics of {list(who)} must be {length} values with whole numbers of rows and "
            "sums, their sum is not",
            who,
        )

    def direct_roles(self, setting: Setting) -> dict[str, Role]:
        """The roles: each participant knows its examples, the server its part of the sum."""
        task = setting.task
        check_linear(self, task.model)
        group = Group(SERVER, task.participants, 0, setting.at_least)
        self.aggregation.check(group)
        credentials = self.aggregation.setup([*task.participants, SERVER])
        common: dict[str, Any] = {
            "method": self,
            "group": group,
            "model": task.model,
            "parameters": task.initial_parameters(),
        }
        roles: dict[str, Role] = {
            name: partial(participant, **common, examples=own, credentials=credentials[name])
            for name, own in task.data.items()
        }
        roles[SERVER] = partial(
            server,
            **common,
            credentials=credentials[SERVER],
            rounds=setting.rounds,
            report=setting.report,
        )
        return roles


async def participant(
    link: Link,
    method: EncryptedStatistics,
    group: Group,
    model: Model,
    parameters: np.ndarray,
    examples: Examples,
    credentials: Any,
) -> np.ndarray:
    """Contribute the statistics of one's examples, wait for the model."""
    statistics = method.statistics(examples, model)
    await method.aggregation.contribute(link, statistics, group, credentials)
    return await receive_like(link, SERVER, "model", parameters)


async def server(
    link: Link,
    method: EncryptedStatistics,
    group: Group,
    model: Model,
    parameters: np.ndarray,
    credentials: Any,
    rounds: int,
    report: Report,
) -> Aggregates:
    """Collect the sum, solve, hand the model to every participant."""
    total, who = await method.aggregation.collect(link, group, credentials)
    aggregates = method.aggregates(total, model, who)
    solved = cast_like(flatten(aggregates.solve(method.ridge)), parameters, sender=who)
    for round in range(rounds):
        report(round, solved)
    await link.broadcast(group.contributors, "model", solved)
    return aggregates
