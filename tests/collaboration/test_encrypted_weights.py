"""Weights sealed under the trainers' key: no bit changes, and the relay reads and changes none."""

from dataclasses import replace

import numpy as np
import pytest

from refimpl import network
from refimpl.aggregation import Plain
from refimpl.collaboration import WeightTransmission, encrypted_weights, indirect, peer_to_peer
from refimpl.collaboration.run import Setting
from refimpl.network import Fault, MalformedMessage, NetworkError, channel
from tests.collaboration.oracles import sequential, toy

METHOD = WeightTransmission(learning_rate=0.2, epochs=2, batch_size=4, encrypted=True)
both = pytest.mark.parametrize("train", [indirect.train, peer_to_peer.train])


def roles_of(task, rounds=2, relayed=True):
    names = [*task.participants, "server"]
    setting = Setting(task, rounds, 0, Plain(), None, lambda *_: None, dict.fromkeys(names))
    return encrypted_weights.roles(METHOD, setting, relayed=relayed)


@both
@pytest.mark.parametrize("sizes", [(3, 21), (5, 9, 14)])
@pytest.mark.parametrize("rounds", [1, 3])
def test_it_is_sequential_sgd_bit_for_bit(train, sizes, rounds):
    task = toy(sizes)
    run = train(task, rounds=rounds, method=METHOD, seed=6)
    expected = sequential(task, METHOD, rounds, seed=6)
    for name in task.participants:
        assert run.models[name].tobytes() == expected.tobytes()
    clear = train(task, rounds=rounds, method=replace(METHOD, encrypted=False), seed=6)
    assert run.accuracy_by_round == clear.accuracy_by_round
    assert run.method == "WeightTransmission"


def test_the_messages_are_those_in_clear_but_for_the_first_weights():
    """With a relay the first trainer is not handed what all know."""
    n, rounds = 3, 4
    relayed, chained = (
        train(toy(), rounds=rounds, method=METHOD).transcript
        for train in (indirect.train, peer_to_peer.train)
    )
    assert len(relayed) == 2 * n * rounds + n - 1
    assert len(chained) == n * rounds - 1 + n - 1
    for transcript in (relayed, chained):
        assert {(m.topic, type(m.payload)) for m in transcript} == {("sealed weights", bytes)}
        assert {len(m.payload) for m in transcript} == {4 * 53 + 16}  # and a tag


def test_the_relay_is_handed_no_key_and_sees_no_weights():
    task = toy()
    roles = roles_of(task)
    key = roles["a"].keywords["key"]
    assert {role.keywords.get("key") for role in roles.values()} == {key, None}
    assert "key" not in roles["server"].keywords
    seen = network.run(roles).transcript.view("server")
    for message in seen.select(receiver="server"):
        clear = channel.open_sealed(key, b"sealed weights", message.round, message.payload)
        assert clear not in message.payload
        with pytest.raises(ValueError, match="authentication tag"):  # any other key opens nothing
            channel.open_sealed(bytes(32), b"sealed weights", message.round, message.payload)


def test_each_run_has_a_key_and_each_turn_a_nonce_of_its_own():
    """So equal weights never look alike: a run repeated, and turns that change nothing."""
    first, second = (indirect.train(toy(), rounds=2, method=METHOD).transcript for _ in range(2))
    seen = [{m.payload for m in t.select(receiver="server")} for t in (first, second)]
    assert len(seen[0]) == 6
    assert not seen[0] & seen[1]
    key, weights = bytes(32), np.zeros(5, np.float32)
    assert len({encrypted_weights.seal(key, turn, weights) for turn in range(9)}) == 9


@both
@pytest.mark.parametrize("kind", ["drop", "delay", "duplicate", "truncate", "tamper"])
def test_every_fault_of_any_message_is_the_same_result_or_an_error_with_the_senders_name(
    train, kind
):
    calm = train(toy(), rounds=2, method=METHOD)
    for message in calm.transcript:
        fault = Fault(kind, message.sender, message.receiver, message.topic, message.round)
        if kind in ("delay", "duplicate"):
            run = train(toy(), rounds=2, method=METHOD, faults=[fault])
            assert run.parameters.tobytes() == calm.parameters.tobytes()
            continue
        with pytest.raises(NetworkError) as error:
            train(toy(), rounds=2, method=METHOD, faults=[fault])
        assert error.value.parties == (message.sender,)


def turned(data):
    return data[:9] + bytes([data[9] ^ 1]) + data[10:]


@pytest.mark.parametrize(
    "lie",
    [
        lambda now, before: None,
        lambda now, before: now[:-1],
        lambda now, before: turned(now),
        lambda now, before: before,  # the weights of an earlier turn, once sealed by a trainer
    ],
    ids=["nothing", "cut", "changed", "replayed"],
)
def test_a_relay_that_changes_or_replays_weights_is_refused_and_named(lie):
    roles = roles_of(toy())

    async def server(link):
        order, before = ("a", "b", "c"), None
        for turn in range(5):
            now = await link.in_round(turn).receive(order[turn % 3], "sealed weights")
            said = lie(now, before) if turn == 3 else now
            await link.in_round(turn).send(order[(turn + 1) % 3], "sealed weights", said)
            before = now

    roles["server"] = server
    with pytest.raises(MalformedMessage, match="'server' must send the weights after turn 3") as e:
        network.run(roles, required=["b"])
    assert e.value.parties == ("server",)


@pytest.mark.parametrize(
    "lie", [None, b"", np.ones(53), bytes(4 * 53 + 15)], ids=["None", "empty", "array", "short"]
)
def test_a_trainer_that_hands_on_something_else_is_named(lie):
    async def liar(link):
        await link.send("server" if relayed else "b", "sealed weights", lie)

    for relayed in (True, False):
        roles = {**roles_of(toy(), relayed=relayed), "a": liar}
        with pytest.raises(MalformedMessage, match="'a' must send") as error:
            network.run(roles, required=["server" if relayed else "b"])
        assert error.value.parties == ("a",)


@pytest.mark.parametrize("weights", [np.ones(52), np.full(53, np.nan)], ids=["short", "NaN"])
def test_sealed_nonsense_names_who_sent_it(weights):
    roles = roles_of(toy(), relayed=False)
    key = roles["a"].keywords["key"]
    sealed = encrypted_weights.seal(key, 0, weights.astype(np.float32))

    async def liar(link):
        await link.send("b", "sealed weights", sealed)

    with pytest.raises(MalformedMessage, match="'a' must send finite float32") as error:
        network.run({**roles, "a": liar}, required=["b"])
    assert error.value.parties == ("a",)


def test_other_weights_of_a_trainer_are_not_detected():
    """Honest-but-curious: whoever has the key may hand on anything."""
    roles = roles_of(toy(), rounds=1, relayed=False)
    key = roles["a"].keywords["key"]

    async def liar(link):
        weights = np.zeros(53, np.float32)
        await link.send("b", "sealed weights", encrypted_weights.seal(key, 0, weights))

    outcome = network.run({**roles, "a": liar})
    honest = network.run(roles_of(toy(), rounds=1, relayed=False))
    assert outcome.results["c"].tobytes() != honest.results["c"].tobytes()


def test_the_relay_and_any_trainer_read_every_update():
    task = toy()
    roles = roles_of(task)
    view = network.run(roles).transcript.view("server", "c")
    key = roles["c"].keywords["key"]
    seen = {
        m.round: np.frombuffer(
            channel.open_sealed(key, b"sealed weights", m.round, m.payload), np.float32
        )
        for m in view.select(receiver="server")
    }
    expected = sequential(task, METHOD, 2)
    assert seen[5].tobytes() == expected.tobytes()
    assert len(seen) == 6


def test_sizes_travel_alike_over_any_record():
    runs = [
        train(toy(), rounds=2, method=METHOD, record=record)
        for train in (indirect.train, peer_to_peer.train)
        for record in ("payloads", "sizes")
    ]
    assert runs[0].transcript.bytes == runs[1].transcript.bytes
    assert runs[2].transcript.bytes == runs[3].transcript.bytes
