"""What holds for every method alike: network faults, seeds, records, views, models."""

import warnings
from dataclasses import fields, is_dataclass, replace
from functools import partial
from types import MethodType, ModuleType
from typing import get_args

import numpy as np
import pytest

from refimpl import collaboration, network
from refimpl.aggregation import Plain
from refimpl.collaboration import (
    AsynchronousSGD,
    BrainTorrent,
    Central,
    EncryptedSGD,
    FedAvg,
    FedSGD,
    Gossip,
    RingAllReduce,
    SelectiveSGD,
    WeightTransmission,
    direct,
    indirect,
    peer_to_peer,
)
from refimpl.collaboration.run import RULES, Setting
from refimpl.learning import Task
from refimpl.network import Fault, MalformedMessage, NetworkError
from refimpl.network.faults import Kind
from tests.collaboration.oracles import toy

LOCAL = {"epochs": 1, "batch_size": 4}
METHODS = {
    "central": (direct.train, Central(**LOCAL)),
    "FedSGD": (indirect.train, FedSGD(batch_size=3)),
    "FedAvg": (indirect.train, FedAvg(**LOCAL)),
    "asynchronous": (indirect.train, AsynchronousSGD(batch_size=3, staleness=2)),
    "selective, largest": (indirect.train, SelectiveSGD(**LOCAL, upload=0.3, download=0.5)),
    "selective, random": (indirect.train, SelectiveSGD(**LOCAL, selection="random")),
    "asynchronous, encrypted": (indirect.train, EncryptedSGD(batch_size=3, staleness=2)),
    "weights, relayed": (indirect.train, WeightTransmission(**LOCAL)),
    "weights, chained": (peer_to_peer.train, WeightTransmission(**LOCAL)),
    "sealed weights, relayed": (indirect.train, WeightTransmission(**LOCAL, encrypted=True)),
    "sealed weights, chained": (peer_to_peer.train, WeightTransmission(**LOCAL, encrypted=True)),
    "gossip": (peer_to_peer.train, Gossip(**LOCAL)),
    "ring all-reduce": (peer_to_peer.train, RingAllReduce(**LOCAL)),
    "BrainTorrent": (peer_to_peer.train, BrainTorrent(**LOCAL)),
}
every_method = pytest.mark.parametrize(("train", "method"), METHODS.values(), ids=METHODS)
SERVED = (direct.train, indirect.train)
SEALED = ("asynchronous, encrypted", "sealed weights, relayed")  # their keys differ in each run
SYNCHRONOUS = ("central", "FedSGD", "FedAvg")


def same(run, other):
    """Whether two runs ended with the same bits everywhere."""
    return run.accuracy_by_round == other.accuracy_by_round and {
        name: model.tobytes() for name, model in run.models.items()
    } == {name: model.tobytes() for name, model in other.models.items()}


@every_method
def test_the_seed_decides_every_bit(train, method):
    first, again, other = (train(toy(), rounds=3, method=method, seed=seed) for seed in (7, 7, 8))
    assert same(first, again)
    assert not np.array_equal(first.parameters, other.parameters)
    assert [m[:4] for m in first.transcript] == [m[:4] for m in again.transcript]


@every_method
def test_recording_sizes_changes_no_number(train, method):
    whole = train(toy(), rounds=3, method=method)
    sizes = train(toy(), rounds=3, method=method, record="sizes")
    assert same(whole, sizes)
    assert whole.transcript.bytes == sizes.transcript.bytes
    assert len(whole.transcript) == len(sizes.transcript) > 0
    assert all(message.payload is None for message in sizes.transcript)
    assert any(message.payload is not None for message in whole.transcript)


@every_method
def test_a_run_says_what_it_was(train, method):
    task = toy()
    run = train(task, rounds=2, method=method)
    approach = {direct.train: "direct", indirect.train: "indirect"}.get(train, "peer-to-peer")
    assert (run.approach, run.method) == (approach, type(method).__name__)
    assert (run.task, run.rounds, run.errors) == (task, 2, {})
    assert run.participants == ("a", "b", "c") == tuple(run.models)
    assert len(run.accuracy_by_round) == 2
    assert run.seconds > 0
    assert run.parameters.dtype == np.float32
    assert all(model.dtype == np.float32 for model in run.models.values())
    if train is peer_to_peer.train:
        with pytest.raises(ValueError, match="parties of the run"):
            run.transcript.view("server")
    else:
        assert len(run.transcript.view("server")) == len(run.transcript)


@pytest.mark.parametrize("kind", ["cnn", "regression"])
@every_method
def test_other_models_learn(train, method, kind):
    task = toy((12, 9, 30), kind=kind)
    run = train(task, rounds=15, method=replace(method, learning_rate=0.05))
    examples = task.pooled()
    before, after = (task.loss(p, examples) for p in (task.initial_parameters(), run.parameters))
    assert after < 0.95 * before


@pytest.mark.parametrize("kind", get_args(Kind))
@pytest.mark.parametrize("sender", ["a", "b", "server"])
@every_method
def test_a_network_fault_ends_in_the_exact_result_or_an_error_with_the_senders_name(
    train, method, sender, kind
):
    """Strikes every message of one sender: those of one round, and then of all rounds."""
    if sender == "server" and train is peer_to_peer.train:
        sender = "c"
    calm = train(toy(), rounds=3, method=method)
    for round in (1, None):
        struck = calm.transcript.select(sender=sender, round=round)
        fault = Fault(kind, sender=sender, round=round)
        if not struck.messages:
            with pytest.raises(ValueError, match="struck none"):
                train(toy(), rounds=3, method=method, faults=[fault])
        elif kind in ("delay", "duplicate"):
            run = train(toy(), rounds=3, method=method, faults=[fault])
            assert same(run, calm)
            assert run.errors == {}
        else:
            with pytest.raises(NetworkError, match=repr(sender)) as caught:
                train(toy(), rounds=3, method=method, faults=[fault])
            assert caught.value.parties == (sender,)
            if kind != "drop":
                assert type(caught.value).__name__ == "TamperedMessage"


@every_method
def test_every_single_message_matters(train, method):
    """Dropping any one message names who sent it, in the role of who was to receive it."""
    calm = train(toy(), rounds=2, method=method)
    for message in calm.transcript:
        fault = Fault("drop", message.sender, message.receiver, message.topic, message.round)
        with pytest.raises(NetworkError, match="was lost") as caught:
            train(toy(), rounds=2, method=method, faults=[fault])
        assert caught.value.parties == (message.sender,)
        assert caught.value.__notes__ == [f"raised in the role of {message.receiver!r}"]


@pytest.mark.parametrize("kind", get_args(Kind))
@pytest.mark.parametrize("name", SYNCHRONOUS)
def test_with_enough_others_no_fault_of_one_participant_stops_the_run(name, kind):
    """A late contribution counts as lost, where the others are enough; all else is as above."""
    train, method = METHODS[name]
    fault = Fault(kind, sender="b")
    run = train(toy(), rounds=3, method=method, at_least=2, faults=[fault])
    whole = train(toy(), rounds=3, method=method)
    without = train(toy(), rounds=3, method=method, at_least=2, faults=[Fault("drop", sender="b")])
    assert same(run, whole if kind == "duplicate" else without)
    assert not same(without, whole)
    assert run.errors == {}
    assert sorted(run.models) == ["a", "b", "c"]


@pytest.mark.parametrize("name", SYNCHRONOUS)
def test_with_at_least_errors_names_those_who_failed(name):
    train, method = METHODS[name]
    run = train(toy(), rounds=3, method=method, at_least=1, faults=[Fault("drop", receiver="c")])
    assert list(run.errors) == ["c"]
    assert run.errors["c"].parties == ("server",)
    assert sorted(run.models) == ["a", "b"]
    deaf = [Fault("drop", sender="server")]
    if name == "central":  # it has all it needs: only the models are lost
        run = train(toy(), rounds=3, method=method, at_least=1, faults=deaf)
        assert sorted(run.errors) == ["a", "b", "c"]
        assert run.models == {}
        with pytest.raises(ValueError, match="no participant holds a final model"):
            _ = run.parameters
    else:
        with pytest.raises(NetworkError, match="needs 1"):
            train(toy(), rounds=3, method=method, at_least=1, faults=deaf)


# --- what a role is handed ----------------------------------------------------------------------


def setting(task, rounds, report=lambda round, parameters: None):
    names = [*task.participants, "server"]
    return Setting(task, rounds, 0, Plain(), None, report, dict.fromkeys(names))


def roles(train, method, setting):
    approach = {direct.train: "direct", indirect.train: "indirect"}.get(train, "peer-to-peer")
    return getattr(method, RULES[approach][0])(setting)


def reachable(thing, seen):
    """Everything that ``thing`` holds, and what that holds: attributes, items, bound arguments."""
    if id(thing) in seen:
        return
    seen[id(thing)] = thing
    inner = [*vars(thing).values()] if hasattr(thing, "__dict__") else []
    if isinstance(thing, partial):
        inner += [thing.func, thing.args, thing.keywords]
    elif isinstance(thing, MethodType):
        inner += [thing.__self__]
    elif isinstance(thing, dict):
        inner += [*thing.keys(), *thing.values()]
    elif isinstance(thing, list | tuple | set | frozenset):
        inner += thing
    elif is_dataclass(thing) and not isinstance(thing, type):
        inner += [getattr(thing, field.name) for field in fields(thing)]
    for one in inner:
        if not isinstance(one, type | ModuleType):
            reachable(one, seen)


@every_method
def test_a_role_reaches_its_own_examples_and_nobody_elses(train, method, monkeypatch):
    handed, original = {}, network.run

    def run(roles, **options):
        handed.update(roles)
        return original(roles, **options)

    monkeypatch.setattr(network, "run", run)
    task = toy()
    train(task, rounds=1, method=method)
    assert {*task.participants} <= {*handed}
    for name, role in handed.items():
        seen = {}
        reachable(role, seen)
        found = {owner for owner, e in task.data.items() if {id(e), id(e.x), id(e.y)} & {*seen}}
        assert found == ({name} if name in task.data else set())
        assert not any(isinstance(thing, Task) for thing in seen.values())


# --- a server that lies -------------------------------------------------------------------------


def lies(payload):
    """What must not pass for ``payload``, a vector, or indices and values."""
    if isinstance(payload, tuple):
        indices, values = payload
        yield from ((indices, lie) for lie in lies(values) if lie is not None)
        yield from ((indices + 60, values), (indices[::-1], values), (indices.astype(int), values))
        yield (indices,)
        yield values
    else:
        yield from (payload[:-1], payload.astype(np.float64), payload * np.float32(np.nan))
        yield payload[None]
    yield None


@pytest.mark.parametrize(
    "name", [key for key, (t, _) in METHODS.items() if t in SERVED and key not in SEALED]
)
def test_whatever_a_server_sends_is_checked_and_the_error_names_it(name):
    """Each message of a calm run in turn is replaced by each lie; the others stay as they were."""
    (train, method), task = METHODS[name], toy((3, 4))
    calm = train(task, rounds=2, method=method).transcript.select(sender="server").messages

    async def liar(link, at, lie):
        for k, message in enumerate(calm):
            payload = lie if k == at else message.payload
            await link.in_round(message.round).send(message.receiver, message.topic, payload)

    for at, message in enumerate(calm):
        for lie in lies(message.payload):
            parties = roles(train, method, setting(task, 2))
            parties["server"] = partial(liar, at=at, lie=lie)
            with pytest.raises(MalformedMessage, match="'server' must send") as caught:
                network.run(parties)
            assert caught.value.parties == ("server",)
            assert caught.value.__notes__ == [f"raised in the role of {message.receiver!r}"]


# --- which method, and with which numbers -------------------------------------------------------


@every_method
def test_numpy_scalars_change_no_bit(train, method):
    given = {field.name: getattr(method, field.name) for field in fields(method)}
    scalars = {
        name: (np.int64 if isinstance(value, int) else np.float64)(value)
        for name, value in given.items()
        if isinstance(value, int | float)
    }
    assert "learning_rate" in scalars
    plain = train(toy(), rounds=3, method=method)
    run = train(toy(), rounds=np.int64(3), method=replace(method, **scalars))
    assert same(run, plain)
    assert run.transcript.bytes == plain.transcript.bytes
    assert [type(value) for value in (run.rounds, run.accuracy)] == [int, float]


@pytest.mark.parametrize("train", [direct.train, indirect.train, peer_to_peer.train])
def test_a_method_of_another_approach_is_refused_by_name(train):
    approach = {direct.train: "direct", indirect.train: "indirect"}.get(train, "peer-to-peer")
    rule, told = RULES[approach]
    fitting = {method for method in collaboration_methods() if hasattr(method, rule)}
    assert told == ", ".join(sorted(f"{method.__name__}()" for method in fitting))
    others = [method() for method in collaboration_methods() - fitting]
    for wrong in (*others, *fitting, "FedAvg", 0):
        with pytest.raises(TypeError, match=f"method of {approach} .*{rule}") as caught:
            train(toy(), method=wrong)
        assert told in str(caught.value)


def collaboration_methods():
    exported = (getattr(collaboration, name) for name in collaboration.__all__)
    return {one for one in exported if one is not collaboration.Run}


class Other:
    """An aggregation that is not plain."""

    def setup(self, parties, rng=None):
        return dict.fromkeys(parties)


UNPROTECTED = [name for name in METHODS if name not in (*SYNCHRONOUS, "gossip")]


@pytest.mark.parametrize("name", UNPROTECTED)
def test_a_method_without_aggregation_refuses_a_protection(name):
    train, method = METHODS[name]
    with pytest.raises(ValueError, match=f"{type(method).__name__} uses no aggregation, so Other"):
        train(toy(), method=method, aggregation=Other())
    if train is indirect.train:
        with pytest.raises(ValueError, match="at_least must be None, got 2"):
            train(toy(), method=method, at_least=2)


@every_method
def test_divergence_is_an_error(train, method):
    kind, text = FloatingPointError, "must be finite"
    if isinstance(method, EncryptedSGD):  # an update leaves the encoding's bound first
        kind, text = ValueError, "must lie in"
    with warnings.catch_warnings(), pytest.raises(kind, match=text):
        warnings.simplefilter("ignore")
        train(toy(), rounds=60, method=replace(method, learning_rate=1e30))
