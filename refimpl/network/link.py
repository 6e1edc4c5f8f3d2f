"""What one party holds of the network: its name, and how to send, receive and gather."""

from collections.abc import Callable, Coroutine, Hashable, Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from refimpl.arithmetic.checks import whole
from refimpl.network.errors import (
    LostParty,
    MalformedMessage,
    MissingMessage,
    NetworkError,
    TamperedMessage,
)

Reason = tuple[type[NetworkError], str]
GRAVEST_FIRST = (TamperedMessage, MalformedMessage, LostParty, MissingMessage)


class Want:
    """A party waits for ``topic`` in ``round`` from ``senders``, of whom ``at_least`` suffice.

    Awaiting it hands it to the runner, which answers with ``{sender: payload}`` or raises.
    """

    __slots__ = ("at_least", "missing", "round", "senders", "topic")

    def __init__(self, senders: tuple[str, ...], topic: str, round: int, at_least: int):
        self.senders = senders
        self.topic = topic
        self.round = round
        self.at_least = at_least
        self.missing = set(senders)

    def __await__(self) -> Any:
        return (yield self)

    @property
    def enough(self) -> bool:
        """Whether those who answered suffice to go on."""
        return len(self.senders) - len(self.missing) >= self.at_least

    def hopeless(self, lost: Iterable[str]) -> bool:
        """Whether too few can still answer once those in ``lost``, all missing, never will."""
        return len(self.senders) - len(set(lost)) < self.at_least

    def unanswered(self, receiver: str, reasons: Mapping[str, Reason]) -> NetworkError:
        """The error that says who is missing and why; its type is the gravest of the reasons'."""
        text = (
            f"{receiver!r} received {self.topic!r} of round {self.round} from "
            f"{len(self.senders) - len(self.missing)} of {len(self.senders)} parties, and needs "
            f"{self.at_least}. Missing: "
            + "; ".join(f"{sender!r} ({reason})" for sender, (_, reason) in reasons.items())
        )
        kind = min((kind for kind, _ in reasons.values()), key=GRAVEST_FIRST.index)
        return kind(text, reasons)


@runtime_checkable
class Job(Protocol):
    """A computation of one party. ``LocalTraining`` of ``refimpl.learning`` is one."""

    @property
    def batch_key(self) -> Hashable:
        """Jobs of one type with equal keys may run together."""

    @classmethod
    def run_together(cls, jobs: Sequence[Any]) -> Sequence[Any]:
        """The result of each job, or the exception that is its own. If this raises, each of
        several jobs is run again alone."""


class Work:
    """A party asks for a computation of its own, which a simulation may batch with others'."""

    __slots__ = ("batch", "job")

    def __init__(self, job: Job):
        self.job = job
        self.batch = type(job), job.batch_key
        hash(self.batch)

    def __await__(self) -> Any:
        return (yield self)


def compute(jobs: Sequence[Job]) -> list[Any]:
    """The result of each of ``jobs``, which share a batch, or the exception that is its own."""
    try:
        results = list(jobs[0].run_together(jobs))
        if len(results) != len(jobs):
            raise ValueError(f"run_together must return {len(jobs)} results, got {len(results)}")
        return results
    except Exception as error:
        if len(jobs) == 1:
            return [error]
        return [result for job in jobs for result in compute([job])]


class Endpoint(Protocol):
    """A runner's side of a link."""

    def post(self, receiver: str, topic: str, round: int, payload: Any) -> None: ...

    def fetch(self, want: Want) -> dict[str, Any] | None: ...

    @property
    def peers(self) -> frozenset[str]: ...


class Link:
    """A party's connection to the others. Everything it learns from them arrives here."""

    __slots__ = ("_endpoint", "name", "round")

    def __init__(self, name: str, endpoint: Endpoint, round: int = 0):
        self.name = name
        self.round = round
        self._endpoint = endpoint

    def in_round(self, round: int) -> "Link":
        """The same link in another round: it reads messages of that round only.

        A straggler's message from an earlier round is so never taken for this round's.
        Raises ``ValueError`` unless ``round`` is a whole number of at least 0.
        """
        return Link(self.name, self._endpoint, whole("round", round))

    async def send(self, receiver: str, topic: str, payload: Any) -> None:
        """Hand ``payload`` to the network. It is copied now, and ``send`` never waits."""
        self._check(receiver, topic)
        self._endpoint.post(receiver, topic, self.round, payload)

    async def broadcast(self, receivers: Iterable[str], topic: str, payload: Any) -> None:
        """Send the same to each of ``receivers``: as many messages as there are receivers."""
        for receiver in receivers:
            await self.send(receiver, topic, payload)

    async def receive(self, sender: str, topic: str) -> Any:
        """The payload of ``sender``'s message of this topic and round, its arrays read-only.

        Raises ``MissingMessage``, ``Deadlock``, ``TamperedMessage`` or ``LostParty``, naming the
        sender, if the message will never come or did not come whole.
        """
        self._check(sender, topic)
        return (await self._wait((sender,), topic, 1))[sender]

    async def gather(
        self, senders: Iterable[str], topic: str, *, at_least: int | None = None
    ) -> dict[str, Any]:
        """``{sender: payload}`` in name order, from all ``senders`` or, if some fail, from enough.

        ``at_least`` (all, if not given) is how many must answer; with fewer it raises
        ``MissingMessage``. This is the only way to go on without somebody. In process it gives
        up on those missing when nobody else can move, over a real network at a deadline.
        """
        names = tuple(sorted(senders))
        for name in names:
            self._check(name, topic)
        if len(set(names)) != len(names):
            raise ValueError(f"senders must differ from each other, got {list(names)}")
        enough = len(names) if at_least is None else at_least
        if not 0 <= enough <= len(names):
            raise ValueError(f"at_least must be between 0 and senders={len(names)}, got {enough}")
        return await self._wait(names, topic, enough) if names else {}

    async def compute(self, job: Job) -> Any:
        """The result of ``job``, a computation of this party alone.

        It stays this party's: only the simulation, for speed, runs the jobs of equal type and
        ``batch_key`` that several parties ask for at once in one ``job.run_together(jobs)``.
        A result that is an exception is raised, in the role of the party whose job it was.
        Raises ``TypeError`` for what is no ``Job``.
        """
        if not isinstance(job, Job):
            raise TypeError(
                f"a job must have a batch_key and run_together, got {type(job).__name__}"
            )
        return await Work(job)

    async def _wait(self, senders: tuple[str, ...], topic: str, at_least: int) -> dict[str, Any]:
        want = Want(senders, topic, self.round, at_least)
        got = self._endpoint.fetch(want)
        return (await want) if got is None else got

    def _check(self, other: str, topic: str) -> None:
        if not isinstance(topic, str) or not topic:
            raise ValueError(f"topic must be a text that is not empty, got {topic!r}")
        if other == self.name:
            raise ValueError(f"{self.name!r} addressed itself: keep one's own value local")
        if other not in self._endpoint.peers:
            raise ValueError(
                f"a party must be one of {sorted(self._endpoint.peers)}, got {other!r}"
            )


Role = Callable[[Link], Coroutine[Any, Any, Any]]


def begin(role: Role, link: Link) -> Coroutine[Any, Any, Any]:
    """The coroutine of a role; ``TypeError`` if it is none."""
    coroutine = role(link)
    if not isinstance(coroutine, Coroutine):
        raise TypeError(
            f"the role of {link.name!r} must be an async function, it returned "
            f"{type(coroutine).__name__}"
        )
    return coroutine
