"""The in-process runner: who runs when, what is delivered, and how each failure is told."""

import asyncio
import gc
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refimpl import network
from refimpl.network import Deadlock, Fault, MissingMessage


async def send_all(link, receiver, payloads, topic="value"):
    for payload in payloads:
        await link.send(receiver, topic, payload)


async def receive_all(link, sender, count, topic="value"):
    return [await link.receive(sender, topic) for _ in range(count)]


async def send_one(link, receiver="server", payload=1, topic="value"):
    await link.send(receiver, topic, payload)


async def gather_from(link, senders, topic="value", at_least=None):
    return await link.gather(senders, topic, at_least=at_least)


async def idle(link):
    return link.name


# --- delivery ---------------------------------------------------------------------------------


def test_messages_of_one_topic_arrive_in_the_order_of_sending():
    outcome = network.run(
        {
            "a": lambda link: send_all(link, "b", range(50)),
            "b": lambda link: receive_all(link, "a", 50),
        }
    )
    assert outcome.results == {"a": None, "b": list(range(50))}
    assert outcome.unread == []


def test_a_receiver_asks_by_sender_topic_and_round():
    async def sender(link):
        await link.in_round(2).send("b", "x", "x of round 2")
        await link.send("b", "y", "y of round 0")
        await link.send("b", "x", "x of round 0")

    async def receiver(link):
        later = link.in_round(2)
        assert (link.round, later.round) == (0, 2)
        return [
            await link.receive("a", "x"),
            await link.receive("a", "y"),
            await later.receive("a", "x"),
        ]

    outcome = network.run({"a": sender, "b": receiver})
    assert outcome.results["b"] == ["x of round 0", "y of round 0", "x of round 2"]


async def ring(link, names, steps):
    """Each passes a number on around a ring and adds its own."""
    at = names.index(link.name)
    value = at
    for step in range(steps):
        here = link.in_round(step)
        await here.send(names[(at + 1) % len(names)], "token", value)
        value = await here.receive(names[at - 1], "token") + at
    return value


@given(st.permutations(["a", "b", "c", "d"]), st.integers(1, 5))
def test_results_do_not_depend_on_the_order_of_the_roles(order, steps):
    names = ["a", "b", "c", "d"]
    runs = [
        network.run({name: lambda link: ring(link, names, steps) for name in given_order})
        for given_order in (names, order, order)
    ]
    assert runs[0].results == runs[1].results
    assert sorted(runs[0].transcript) == sorted(runs[1].transcript)
    assert runs[1].transcript.messages == runs[2].transcript.messages  # the same, again


def test_payloads_are_copied_at_send_and_read_only_on_receipt():
    async def sender(link):
        array, listed = np.zeros(3), [1, 2]
        await link.send("b", "value", [array, listed])
        array[:] = 7
        listed.append(3)

    async def receiver(link):
        array, listed = await link.receive("a", "value")
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
        seen = list(listed)
        listed.append("mine")
        return array, seen

    outcome = network.run({"a": sender, "b": receiver})
    array, seen = outcome.results["b"]
    assert array.tolist() == [0, 0, 0] and seen == [1, 2]
    recorded = outcome.transcript.messages[0].payload
    assert recorded[0].tolist() == [0, 0, 0] and recorded[1] == [1, 2]  # not what b made of it
    assert not recorded[0].flags.writeable


def test_record_sizes_keeps_no_payload_but_the_same_bytes():
    roles = {
        "a": lambda link: send_one(link, "b", np.ones(9)),
        "b": lambda link: receive_all(link, "a", 1),
    }
    full, sizes = network.run(roles), network.run(roles, record="sizes")
    assert sizes.transcript.bytes == full.transcript.bytes > 9 * 8
    assert [m.payload for m in sizes.transcript] == [None]
    assert sizes.results["b"][0].tolist() == [1] * 9


def test_unread_lists_every_message_that_nobody_asked_for():
    outcome = network.run({"a": lambda link: send_all(link, "b", [1, 2]), "b": idle})
    assert outcome.unread == [("b", "a", "value", 0)] * 2


def test_it_runs_inside_a_running_event_loop():
    async def notebook_cell():
        return network.run({"a": idle, "b": idle}).results

    assert asyncio.run(notebook_cell()) == {"a": "a", "b": "b"}


# --- gather -----------------------------------------------------------------------------------


def test_gather_returns_all_in_name_order():
    roles = {name: send_one for name in ("c", "a", "b")}
    roles["server"] = lambda link: gather_from(link, ["c", "a", "b"])
    assert list(network.run(roles).results["server"].items()) == [("a", 1), ("b", 1), ("c", 1)]


def test_gather_of_nobody_is_empty_and_at_least_zero_waits_for_nobody_who_is_gone():
    roles = {"server": lambda link: gather_from(link, []), "a": idle}
    assert network.run(roles).results["server"] == {}
    roles = {"server": lambda link: gather_from(link, ["a"], at_least=0), "a": idle}
    assert network.run(roles).results["server"] == {}


def test_gather_waits_for_all_who_can_still_answer():
    async def slow(link):
        await link.receive("helper", "go")  # answers only after a detour
        await send_one(link)

    roles = {
        "server": lambda link: gather_from(link, ["fast", "slow"], at_least=1),
        "fast": send_one,
        "slow": slow,
        "helper": lambda link: send_one(link, "slow", None, "go"),
    }
    assert set(network.run(roles).results["server"]) == {"fast", "slow"}


def test_gather_that_can_go_on_goes_on_and_one_that_cannot_names_the_missing():
    roles = {"a": send_one, "b": send_one, "c": idle}
    names = ["a", "b", "c"]
    roles["server"] = lambda link: gather_from(link, names, at_least=2)
    assert set(network.run(roles).results["server"]) == {"a", "b"}
    roles["server"] = lambda link: gather_from(link, names)
    with pytest.raises(MissingMessage, match="from 2 of 3 parties, and needs 3") as caught:
        network.run(roles)
    assert caught.value.parties == ("c",)
    assert "'c' (it ended without sending it)" in str(caught.value)


def test_in_a_chain_of_gathers_the_one_upstream_gives_up_first():
    """The server's gather must not end before the relay's, whose answer is on its way."""

    async def relay(link):
        got = await link.gather(["a", "gone"], "value", at_least=1)
        await link.send("server", "value", sorted(got))

    async def server(link):
        return await link.gather(["b", "relay"], "value", at_least=1)

    for order in (["server", "relay"], ["relay", "server"]):
        functions = {"server": server, "relay": relay}
        roles = {name: functions[name] for name in order} | {
            "a": lambda link: send_one(link, "relay"),
            "b": send_one,
            "gone": idle,
        }
        assert network.run(roles).results["server"] == {"b": 1, "relay": ["a"]}


def test_a_gather_still_short_waits_for_those_who_recover_from_an_error():
    async def recovers(link):
        try:
            await link.receive("gone", "value")
        except MissingMessage:
            await link.send("server", "value", "without gone")

    roles = {
        "server": lambda link: gather_from(link, ["gone", "recovers"], at_least=1),
        "recovers": recovers,
        "gone": idle,
    }
    for order in (list(roles), list(reversed(roles))):
        outcome = network.run({name: roles[name] for name in order})
        assert outcome.results["server"] == {"recovers": "without gone"}


def test_a_straggler_is_never_read_in_a_later_round():
    async def server(link):
        seen = []
        for round in range(3):
            here = link.in_round(round)
            got = await here.gather(["a", "late"], "value", at_least=1)
            seen.append(got)
            await here.send("a", "next", None)
            await here.send("late", "next", None)
        return seen

    async def participant(link):
        for round in range(3):
            here = link.in_round(round)
            await here.send("server", "value", round)
            await here.receive("server", "next")

    fault = Fault("delay", sender="late", topic="value", round=0)
    outcome = network.run({"server": server, "a": participant, "late": participant}, faults=[fault])
    assert outcome.results["server"] == [{"a": 0}, {"a": 1, "late": 1}, {"a": 2, "late": 2}]
    assert outcome.unread == [("server", "late", "value", 0)]


# --- failures ---------------------------------------------------------------------------------


def test_a_circle_is_a_deadlock_that_says_who_waits_for_what():
    roles = {
        "a": lambda link: link.receive("b", "x"),
        "b": lambda link: link.receive("a", "y"),
        "c": idle,
    }
    with pytest.raises(Deadlock) as caught:
        network.run(roles)
    assert "'a' waits for 'x' from ['b']" in str(caught.value)
    assert "'b' waits for 'y' from ['a']" in str(caught.value)
    assert caught.value.parties == ("a", "b")


def test_an_error_carries_the_role_and_those_who_waited_name_its_party():
    async def fails(link):
        raise ZeroDivisionError("of my own")

    roles = {"server": lambda link: gather_from(link, ["a"]), "a": fails, "b": idle}
    with pytest.raises(ZeroDivisionError) as caught:
        network.run(roles)
    assert caught.value.__notes__ == ["raised in the role of 'a'"]

    outcome = network.run(roles, required=["b"])
    assert outcome.results == {"b": "b"}
    assert isinstance(outcome.errors["a"], ZeroDivisionError)
    assert isinstance(outcome.errors["server"], MissingMessage)
    assert outcome.errors["server"].parties == ("a",)
    assert "it ended with ZeroDivisionError" in str(outcome.errors["server"])
    assert "of my own" not in str(outcome.errors["server"])  # its text stays with its party

    with pytest.raises(MissingMessage):
        network.run(roles, required=["server"])


def test_all_coroutines_are_closed_whatever_happens():
    closed = []

    async def waits(link):
        try:
            await link.receive("b", "never")
        finally:
            closed.append(link.name)

    async def interrupted(link):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        network.run({"a": waits, "b": interrupted})
    assert closed == ["a"]

    with pytest.raises(TypeError, match="the role of 'b' must be an async function"):
        network.run({"a": idle, "b": lambda link: 3})
    gc.collect()  # a coroutine that was never awaited would warn, which is an error here


def test_awaiting_anything_else_is_an_error_of_that_party():
    with pytest.raises(TypeError, match="'a' may await only its link's operations"):
        network.run({"a": lambda link: asyncio.sleep(0)})


@pytest.mark.parametrize(
    ("action", "text"),
    [
        (lambda link: link.send("a", "x", 1), "'a' addressed itself"),
        (lambda link: link.receive("a", "x"), "'a' addressed itself"),
        (lambda link: link.gather(["b", "a"], "x"), "'a' addressed itself"),
        (lambda link: link.send("z", "x", 1), r"must be one of \['a', 'b'\], got 'z'"),
        (lambda link: link.gather(["b", "b"], "x"), "senders must differ"),
        (lambda link: link.send("b", 5, 1), "topic must be a text that is not empty, got 5"),
        (lambda link: link.receive("b", ""), "topic must be a text that is not empty, got ''"),
        (lambda link: link.gather(["b"], b"x"), "topic must be a text that is not empty, got b'x'"),
        (lambda link: link.in_round(True), "round must be a whole number .*, got True"),
        (lambda link: link.in_round(1.5), r"round must be a whole number .*, got 1\.5"),
        (lambda link: link.in_round("x"), "round must be a whole number of at least 0, got 'x'"),
        (lambda link: link.in_round(-1), "round must be a whole number of at least 0, got -1"),
        (lambda link: link.gather(["b"], "x", at_least=2), "between 0 and senders=1, got 2"),
        (lambda link: link.gather(["b"], "x", at_least=-1), "between 0 and senders=1, got -1"),
    ],
)
def test_impossible_operations_are_refused(action, text):
    with pytest.raises(ValueError, match=text):
        network.run({"a": action, "b": idle})


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"record": "all"}, "record must be 'payloads' or 'sizes', got 'all'"),
        ({"required": ["z"]}, r"required must be among the roles \['a'\], got \['z'\]"),
        ({"faults": [Fault("drop", sender="z")]}, "a fault's parties must be among the roles"),
    ],
)
def test_impossible_arguments_are_refused(arguments, text):
    with pytest.raises(ValueError, match=text):
        network.run({"a": idle}, **arguments)


# --- computations -----------------------------------------------------------------------------


@dataclass
class Square:
    value: int
    batch_key: str = "same"

    calls: ClassVar = []

    @classmethod
    def run_together(cls, jobs):
        cls.calls.append([job.value for job in jobs])
        if any(job.value < 0 for job in jobs):
            raise ArithmeticError("negative")
        return [job.value**2 for job in jobs]


class Other(Square):
    pass


async def compute(link, *jobs):
    return [await link.compute(job) for job in jobs]


def test_jobs_of_equal_type_and_key_run_together_and_each_gets_its_own():
    Square.calls.clear()
    outcome = network.run(
        {
            "a": lambda link: compute(link, Square(1), Square(5)),
            "b": lambda link: compute(link, Square(2), Square(6)),
            "c": lambda link: compute(link, Square(3, "different")),
            "d": lambda link: compute(link, Other(4)),
        }
    )
    assert outcome.results == {"a": [1, 25], "b": [4, 36], "c": [9], "d": [16]}
    assert Square.calls == [[1, 2], [3], [4], [5, 6]]


def test_a_job_that_fails_is_an_error_of_those_who_asked_for_it():
    outcome = network.run(
        {
            "a": lambda link: compute(link, Square(-1)),
            "b": lambda link: compute(link, Square(2, "apart")),
        },
        required=[],
    )
    assert outcome.results == {"b": [4]}
    assert isinstance(outcome.errors["a"], ArithmeticError)


def test_one_failing_job_of_a_batch_takes_no_other_down():
    outcome = network.run(
        {name: lambda link: compute(link, Square("cab".index(link.name) - 1)) for name in "abc"},
        required=[],
    )
    assert outcome.results == {"a": [0], "b": [1]}
    assert isinstance(outcome.errors["c"], ArithmeticError)


def test_a_batch_with_too_few_results_is_an_error_of_its_roles():
    class Forgetful(Square):
        @classmethod
        def run_together(cls, jobs):
            return []

    outcome = network.run({"a": lambda link: compute(link, Forgetful(1)), "b": idle}, required=[])
    assert "must return 1 results, got 0" in str(outcome.errors["a"])


@pytest.mark.parametrize("job", [lambda: 3, Square(1, batch_key=[])])
def test_what_is_no_job_is_an_error_in_the_role_that_asked(job):
    async def asks(link):
        with pytest.raises(TypeError, match=r"a job must have a batch_key|unhashable"):
            await link.compute(job)

    network.run({"a": asks, "b": idle})


def test_a_round_may_be_a_numpy_integer():
    async def sends(link):
        await link.in_round(np.int64(3)).send("b", "x", 1)

    outcome = network.run({"a": sends, "b": lambda link: link.in_round(3).receive("a", "x")})
    assert outcome.results["b"] == 1
    assert type(outcome.transcript.messages[0].round) is int


def test_a_gather_waits_for_those_who_compute():
    async def works(link):
        await send_one(link, payload=(await compute(link, Square(3)))[0])

    roles = {
        "server": lambda link: gather_from(link, ["a", "b"], at_least=1),
        "a": send_one,
        "b": works,
    }
    assert network.run(roles).results["server"] == {"a": 1, "b": 9}
