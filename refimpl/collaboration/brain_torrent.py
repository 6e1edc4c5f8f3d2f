"""BrainTorrent: in each round one participant asks the others for news, and merges it.

Adversary: none withstood. The round's aggregator sees the parameters of everybody with news.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from refimpl.collaboration.run import LocalSGD, Report, Setting, check_like
from refimpl.learning import Examples, Model
from refimpl.network import Link, MalformedMessage
from refimpl.network.runner import Role


@dataclass(frozen=True, kw_only=True)
class BrainTorrent(LocalSGD):
    """An aggregator of the round, drawn at random, instead of a server.

    It pings the others with the version it last had from each. Those with a newer one answer
    with their parameters and their number of examples. It takes the mean weighted by examples,
    its own parameters included, trains on its own examples, and so has a new version. Before the
    first round everybody trains once. Here the order of aggregators comes from a public seed, and
    ``epochs`` is 5 unless given.
    Source: Roy et al. 2019, section 2 (our reading of it).
    """

    def peer_roles(self, setting: Setting) -> dict[str, Role]:
        """The roles: each participant knows its examples and who asks in which round."""
        setting.require_plain(self)
        task = setting.task
        chosen = setting.generator("aggregator of the round", "everybody")
        aggregators = [str(name) for name in chosen.choice(task.participants, setting.rounds)]
        return {
            name: partial(
                torrent_peer,
                method=self,
                model=task.model,
                parameters=task.initial_parameters(),
                examples=examples,
                peers=[other for other in task.participants if other != name],
                aggregators=aggregators,
                rng=setting.generator("local training", name),
                report=setting.report,
            )
            for name, examples in task.data.items()
        }


async def torrent_peer(
    link: Link,
    method: BrainTorrent,
    model: Model,
    parameters: np.ndarray,
    examples: Examples,
    peers: Sequence[str],
    aggregators: Sequence[str],
    rng: np.random.Generator,
    report: Report,
) -> np.ndarray:
    """Train once; then, each round, either ask for news, merge and train, or answer."""
    parameters = await link.compute(method.local(model, parameters, examples, rng))
    version, known = 1, dict.fromkeys(peers, 0)
    for round, aggregator in enumerate(aggregators):
        here = link.in_round(round)
        if aggregator == link.name:
            parameters = await merge_news(here, parameters, len(examples), known)
            parameters = await here.compute(method.local(model, parameters, examples, rng))
            version += 1
        else:
            had = await here.receive(aggregator, "ping")
            if not isinstance(had, int):
                raise MalformedMessage(f"{aggregator!r} pinged without a version", [aggregator])
            news = version > had
            answer = (version, len(examples), parameters) if news else None
            await here.send(aggregator, "answer", answer)
        report(round, parameters)
    return parameters


async def merge_news(
    link: Link, parameters: np.ndarray, examples: int, known: dict[str, int]
) -> np.ndarray:
    """Ping every peer, merge the news with ``parameters``, bring ``known`` up to date."""
    for peer, version in known.items():
        await link.send(peer, "ping", version)
    answers = await link.gather(known, "answer")
    total, weight = parameters * np.float64(examples), examples
    for peer, answer in answers.items():
        if answer is None:
            continue
        match answer:
            case (int() as version, int() as count, theirs) if version > known[peer] and count > 0:
                theirs = check_like(theirs, parameters, sender=peer)
                known[peer] = version
                total, weight = total + theirs * np.float64(count), weight + count
            case _:
                raise MalformedMessage(
                    f"{peer!r} answered with no version, count and model", [peer]
                )
    return (total / weight).astype(parameters.dtype)
