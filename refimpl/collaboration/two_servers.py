"""The direct approach on shares: two servers fit a linear model to examples that neither sees.

Every participant splits its table [X_k Y_k], in fixed point, into two additive shares, one for
each server (one of them as a 16-byte seed). The servers add up the columns, which takes no word
between them, and multiply with triples of a dealer, which takes one exchange:

    sums = Σ_k 1ᵀ[X_k Y_k],    products = Σ_k X_kᵀ[X_k Y_k]                                  (1)

These ``Aggregates``, exact integers, are all that is ever opened, and to the first server alone.
They give it mean and variance of each column, and the normal equations of ridge regression, which
it solves in the clear. Every participant gets the model. For classes, Y is one-hot and the largest
output wins (least-squares classification).

Adversary: withstands one honest-but-curious server, the dealer alone, and participants, as long as
servers and dealer do not pool what they know: two of these three together read every example.
Nobody's lie is detected: a participant may upload any table, a server that falsifies a share, or
a dealer that falsifies a triple, falsifies the model.
What leaks: to the first server the aggregates, to everybody the model. If all participants but one
show their tables to the first server, the difference is the sums of that one, hence, if it has a
single patient, that patient's record. Hence at least three participants, and a hospital with few
patients should not take part without noise. **Row counts are public**, as is how many columns.
Source: two servers that compute on shares, SecureML (Mohassel and Zhang, IEEE S&P 2017).
"""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from refimpl.aggregation import Group
from refimpl.aggregation.interface import check_protected
from refimpl.arithmetic import ring
from refimpl.arithmetic.checks import whole
from refimpl.collaboration.normal_equations import Aggregates
from refimpl.collaboration.run import (
    SERVER,
    Report,
    Setting,
    cast_like,
    check_positive,
    make_floats,
    receive_like,
)
from refimpl.computation import products
from refimpl.learning import Examples, Model, Task, mlp
from refimpl.learning.models import MLP
from refimpl.learning.parameters import flatten
from refimpl.network import Link, MalformedMessage, MissingMessage
from refimpl.network.runner import Role
from refimpl.smc import additive, truncation
from refimpl.smc.beaver import Triple

SECOND, DEALER = "second server", "dealer"
SERVERS = (SERVER, SECOND)


@dataclass(frozen=True, kw_only=True)
class TwoServers:
    """Ridge regression on shares, a method of ``direct.train``.

    ``ridge`` ≥ 0: the penalty on squared weights, ``alpha`` of scikit-learn's Ridge. Every value of
    X and Y lies in [-``bound``, ``bound``] and is rounded to 2^-``fraction_bits``. Z_2^64 must hold
    the products of all rows, rows·(bound·2^fraction_bits)² < 2^63. One round does it all: with more
    rounds nothing more is sent, and the score stays.
    """

    ridge: float = 1.0
    fraction_bits: int = 20
    bound: float = 16.0

    def __post_init__(self) -> None:
        if not 0 <= self.ridge < float("inf"):
            raise ValueError(f"ridge must be finite and at least 0, got {self.ridge}")
        check_positive(bound=self.bound)
        make_floats(self, "ridge", "bound")
        bits = whole("fraction_bits", self.fraction_bits, 0, 31)
        object.__setattr__(self, "fraction_bits", bits)  # numpy's integers would overflow
        self.check_rows(1)

    def table(self, examples: Examples, model: Model) -> np.ndarray:
        """A participant's [X Y] in fixed point, (n, p + q); ValueError beyond the bound."""
        classes = model.objective == "cross-entropy"
        targets = np.eye(model.outputs)[examples.y] if classes else examples.y[:, None]
        table = np.hstack([examples.x.astype(np.float64), targets])
        return truncation.encode(table, self.fraction_bits, bound=self.bound)

    def check_rows(self, rows: int) -> None:
        """Raise ValueError unless Z_2^64 holds the products of so many rows."""
        if whole("rows", rows, 1) * math.ceil(self.bound * 2**self.fraction_bits) ** 2 >= 2**63:
            raise ValueError(
                "rows·(bound·2^fraction_bits)² must be below 2^63, got "
                f"rows={rows}, bound={self.bound}, fraction_bits={self.fraction_bits}; take fewer "
                "bits or a smaller bound"
            )

    def direct_roles(self, setting: Setting) -> dict[str, Role]:
        """See ``roles``."""
        return roles(setting.task, self, setting.at_least, setting.rounds, setting.report)


@dataclass(frozen=True)
class Public:
    """What everybody knows: the rows of each participant, p, q, how many tables are needed."""

    rows: Mapping[str, int]
    inputs: int
    outputs: int
    needed: int

    def shape(self, name: str) -> tuple[int, int]:
        """Of a participant's table [X Y]."""
        return self.rows[name], self.inputs + self.outputs

    def factors(self) -> dict[str, tuple[tuple[int, int], tuple[int, int]]]:
        """For each participant, the shapes of Xᵀ and [X Y]."""
        return {name: ((self.inputs, n), self.shape(name)) for name, n in self.rows.items()}


def check_linear(method: object, model: Model) -> None:
    """Raise ValueError unless the model is linear, the only kind that ``method`` fits."""
    if not isinstance(model, MLP) or len(model.widths) != 2:
        raise ValueError(
            f"{type(method).__name__} fits linear models, got {model}: give it "
            "two_servers.linear(task), or a task made with hidden=()"
        )


def linear(task: Task) -> Task:
    """The same task with a linear model, the only kind that ``TwoServers`` fits."""
    old = task.model
    model = mlp(old.inputs, (), old.outputs, objective=old.objective, device=old.device)
    return replace(task, model=model)


def roles(
    task: Task,
    method: TwoServers,
    at_least: int | None = None,
    rounds: int = 1,
    report: Report = lambda round, parameters: None,
) -> dict[str, Role]:
    """The roles of the participants, both servers and the dealer.

    The first server's result is the ``Aggregates``. Raises ValueError for a model that is not
    linear, a participant named like a server, fewer than three participants or ``at_least``, or
    more rows than the fixed point allows.
    """
    model, parameters = task.model, task.initial_parameters()
    public = _checked(task, method, at_least)
    found: dict[str, Role] = {
        name: partial(
            participant, examples=examples, method=method, model=model, parameters=parameters
        )
        for name, examples in task.data.items()
    }

    def report_all(parameters: np.ndarray) -> None:
        for round in range(rounds):
            report(round, parameters)

    found[SERVER] = partial(
        server, public=public, method=method, parameters=parameters, report=report_all
    )
    found[SECOND] = partial(second_server, public=public)
    found[DEALER] = partial(dealer, public=public)
    return found


def _checked(task: Task, method: TwoServers, at_least: int | None) -> Public:
    """What is public of ``task``, if this method can serve it; else ValueError."""
    model = task.model
    check_linear(method, model)
    if {SECOND, DEALER} & {*task.participants}:
        raise ValueError(f"participants must have other names than {SECOND!r} and {DEALER!r}")
    group = Group(SERVER, task.participants, 0, at_least)
    check_protected(group)
    rows = {name: len(examples) for name, examples in task.data.items()}
    method.check_rows(sum(rows.values()))
    return Public(rows, model.inputs, model.outputs, group.needed)


async def participant(
    link: Link, examples: Examples, method: TwoServers, model: Model, parameters: np.ndarray
) -> np.ndarray:
    """Upload a share to each server, wait for the model, which is like ``parameters``."""
    table = method.table(examples, model)
    (seed,), share = additive.share_from_seeds(table, 2)
    await link.send(SERVER, "share", share)
    await link.send(SECOND, "share", seed)
    return await receive_like(link, SERVER, "model", parameters)


async def dealer(link: Link, public: Public) -> None:
    """A matrix triple for the table of each participant, so that any of them may be missing."""
    for number, shapes in enumerate(public.factors().values()):
        await products.deal_triple(link.in_round(number), SERVERS, "matmul", *shapes)


async def server(
    link: Link,
    public: Public,
    method: TwoServers,
    parameters: np.ndarray,
    report: Callable[[np.ndarray], None],
) -> Aggregates:
    """The first server: learns the aggregates, solves, hands out the model."""
    tables, triple = await shared_tables(link, SECOND, public)
    share = await share_of_aggregates(link, SECOND, tables, triple, public.inputs)
    opened = ring.add(share, await products.receive_opening(link, [SECOND], share.shape))
    sums, *rest = ring.to_signed(opened)
    rows = sum(len(table) for table in tables.values())
    aggregates = Aggregates(rows, sums, np.array(rest), method.fraction_bits, tuple(tables))
    model = cast_like(flatten(aggregates.solve(method.ridge)), parameters, sender=[*tables])
    report(model)
    await link.broadcast(public.rows, "model", model)
    return aggregates


async def second_server(link: Link, public: Public) -> None:
    """The second server: the same work on its shares, and it learns nothing."""
    tables, triple = await shared_tables(link, SERVER, public)
    share = await share_of_aggregates(link, SERVER, tables, triple, public.inputs)
    await products.reveal(link, [SERVER], share, to=[SERVER])


async def shared_tables(
    link: Link, peer: str, public: Public
) -> tuple[dict[str, np.ndarray], Triple]:
    """One's shares of the tables that both servers received, and of the triple for all of them.

    Raises MissingMessage, naming who is missing, where fewer than needed reached both.
    """
    triples = {
        name: await products.receive_triple(link.in_round(number), DEALER, "matmul", *shapes)
        for number, (name, shapes) in enumerate(public.factors().items())
    }
    uploads = await link.gather(public.rows, "share", at_least=public.needed)
    await link.send(peer, "received", [*uploads])
    theirs = check_names(await link.receive(peer, "received"), public.rows, sender=peer)
    survivors = [name for name in uploads if name in theirs]
    if len(survivors) < public.needed:
        missing = sorted({*public.rows} - {*survivors})
        raise MissingMessage(
            f"tables must reach both servers from {public.needed} participants, got "
            f"{len(survivors)}. Missing: {missing}",
            missing,
        )
    tables = {name: read_share(uploads[name], public.shape(name), name) for name in survivors}
    # Σ_k a_k·b_k = [a_1 a_2 ..]·[b_1; b_2; ..], so the triples of the survivors make one.
    kept = [triples[name] for name in survivors]
    a, b = np.hstack([triple.a for triple in kept]), np.vstack([triple.b for triple in kept])
    return tables, Triple("matmul", a, b, np.sum([t.c for t in kept], axis=0, dtype=np.uint64))


async def share_of_aggregates(
    link: Link, peer: str, tables: Mapping[str, np.ndarray], triple: Triple, inputs: int
) -> np.ndarray:
    """One's share of (1): the sums in the first row, (1 + p, p + q)."""
    table = np.vstack([*tables.values()])
    product = await products.matmul(link, [peer], table[:, :inputs].T, table, triple)
    return np.vstack([table.sum(axis=0, dtype=np.uint64), product])


def read_share(payload: object, shape: tuple[int, int], sender: str) -> np.ndarray:
    """A share of a table, or the seed that stands for one; else MalformedMessage."""
    if isinstance(payload, bytes) and len(payload) == additive.SEED_BYTES:
        return additive.expand(payload, shape)
    if isinstance(payload, np.ndarray) and (payload.dtype, payload.shape) == (np.uint64, shape):
        return payload
    raise MalformedMessage(
        f"{sender!r} must upload uint64 of shape {shape}, or a seed of {additive.SEED_BYTES} bytes",
        [sender],
    )


def check_names(payload: object, known: Collection[str], *, sender: str) -> list[str]:
    """``payload`` if it is a list of different names in ``known``; else MalformedMessage."""
    names: list = payload if isinstance(payload, list) else [None]
    if all(isinstance(name, str) for name in names) and len({*names} & {*known}) == len(names):
        return names
    raise MalformedMessage(f"{sender!r} must send names among {sorted(known)}", [sender])
