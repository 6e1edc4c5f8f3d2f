from functools import partial

import numpy as np
import pytest

from refimpl import network
from refimpl.collaboration import BrainTorrent, peer_to_peer
from refimpl.collaboration.brain_torrent import merge_news, torrent_peer
from refimpl.network import MalformedMessage
from tests.collaboration.oracles import close, generators, toy, train_locally

METHOD = BrainTorrent(learning_rate=0.2, epochs=2, batch_size=4)


def torrent(task, method, aggregators, seed=0):
    """BrainTorrent in a plain loop: everybody's weights after each round."""
    streams = generators(task, seed)
    weights, versions, had = {}, {}, {}
    for name in task.participants:
        weights[name] = train_locally(task, method, name, task.initial_parameters(), streams[name])
        versions[name] = 1
        had[name] = {other: 0 for other in task.participants}
    history = []
    for asks in aggregators:
        merged, total = [weights[asks]], [len(task.data[asks])]
        for other in task.participants:
            if other != asks and versions[other] > had[asks][other]:
                merged.append(weights[other])
                total.append(len(task.data[other]))
                had[asks][other] = versions[other]
        mean = np.average(np.array(merged, np.float64), axis=0, weights=total)
        weights[asks] = train_locally(task, method, asks, mean.astype(np.float32), streams[asks])
        versions[asks] += 1
        history.append(dict(weights))
    return history


def aggregators_of(run):
    """Who pinged in each round."""
    return [
        run.transcript.select(topic="ping", round=r).messages[0].sender for r in range(run.rounds)
    ]


@pytest.mark.parametrize("sizes", [(3, 21), (5, 9, 14)])
@pytest.mark.parametrize("seed", [0, 1])
def test_it_is_the_plain_loop(sizes, seed):
    task = toy(sizes)
    run = peer_to_peer.train(task, rounds=7, method=METHOD, seed=seed)
    history = torrent(task, METHOD, aggregators_of(run), seed)
    for name in task.participants:
        close(run.models[name], history[-1][name])
    scores = [np.mean([task.accuracy(w) for w in held.values()]) for held in history]
    np.testing.assert_allclose(run.accuracy_by_round, scores)
    close(run.parameters, np.mean(list(history[-1].values()), axis=0))


def test_a_peer_without_news_sends_no_model():
    task = toy()
    run = peer_to_peer.train(task, rounds=12, method=METHOD)
    asked, had, versions = aggregators_of(run), {}, dict.fromkeys(task.participants, 1)
    silent = 0
    for round, asks in enumerate(asked):
        for message in run.transcript.select(topic="ping", round=round):
            assert message.payload == had.get((asks, message.receiver), 0)
        for message in run.transcript.select(topic="answer", round=round):
            peer = message.sender
            if versions[peer] > had.get((asks, peer), 0):
                version, count, _ = message.payload
                assert (version, count) == (versions[peer], len(task.data[peer]))
                had[asks, peer] = version
            else:
                assert message.payload is None
                assert message.bytes < 60
                silent += 1
        versions[asks] += 1
    assert silent > 0
    assert len(run.transcript) == 12 * 2 * 2


def test_every_participant_comes_to_aggregate_in_an_order_of_the_seed():
    orders = [
        aggregators_of(peer_to_peer.train(toy(), rounds=16, method=METHOD, seed=seed))
        for seed in (0, 0, 1)
    ]
    assert orders[0] == orders[1] != orders[2]
    assert set(orders[0]) == {"a", "b", "c"}  # one is missing by chance once in 200 seeds


GOOD = np.ones(4, np.float32)


@pytest.mark.parametrize(
    "answer",
    [
        "news",
        (1, 2),
        (0, 2, GOOD),  # no newer than what was had
        (1, 0, GOOD),
        (1, -3, GOOD),
        (1.5, 2, GOOD),
        (1, 2, np.ones(3, np.float32)),
        (1, 2, np.ones(4)),
        (1, 2, GOOD * np.nan),
        (1, 2, [1.0] * 4),
    ],
)
def test_a_malformed_answer_names_its_sender(answer):
    async def liar(link):
        await link.send("a", "answer", answer)

    def asker(link):
        return merge_news(link, np.zeros(4, np.float32), 5, {"b": 0})

    with pytest.raises(MalformedMessage, match="'b'") as caught:
        network.run({"a": asker, "b": liar})
    assert caught.value.parties == ("b",)


def test_a_malformed_ping_names_its_sender():
    task = toy((4, 4))

    async def liar(link):
        await link.send("b", "ping", None)

    peer = partial(
        torrent_peer,
        method=METHOD,
        model=task.model,
        parameters=task.initial_parameters(),
        examples=task.data["b"],
        peers=["a"],
        aggregators=["a"],
        rng=task.generator("x"),
        report=lambda round, parameters: None,
    )
    with pytest.raises(MalformedMessage, match="'a' pinged without a version") as caught:
        network.run({"a": liar, "b": peer})
    assert caught.value.parties == ("a",)
