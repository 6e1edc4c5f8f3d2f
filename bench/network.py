"""What a message costs: in process, and over gloo between two processes on loopback."""

import multiprocessing
import tempfile
import time

import numpy as np

from bench.harness import Row, compare
from refimpl import network
from refimpl.network import channel, codec

MESSAGES = 10_000
ARRAYS, VALUES = 10, 2_500_000  # of float32: 100 MB in ten messages


def run() -> list[list[Row]]:
    """The rows of each comparison."""
    return [small_messages(), large_arrays(), over_gloo()]


async def send_all(link, payloads):
    """Send each payload to b."""
    for payload in payloads:
        await link.send("b", "value", payload)


async def receive_all(link, count):
    """Receive, and drop, ``count`` payloads from a."""
    for _ in range(count):
        await link.receive("a", "value")


async def ping_pong(link, peer, count):
    """Send and wait for the answer, ``count`` times."""
    for number in range(count):
        await link.send(peer, "value", number)
        await link.receive(peer, "value")


def small_messages() -> list[Row]:
    """10,000 messages of one integer each; the bar is 0.1 s."""

    def streamed():
        a, b = (
            lambda link: send_all(link, range(MESSAGES)),
            lambda link: receive_all(link, MESSAGES),
        )
        network.run({"a": a, "b": b})

    def answered():
        a, b = (lambda link, peer=peer: ping_pong(link, peer, MESSAGES // 2) for peer in "ba")
        network.run({"a": a, "b": b})

    def encoded():
        for number in range(MESSAGES):
            codec.decode(codec.encode(number).join())

    functions = {"encode and decode only": encoded, "one way": streamed, "each answered": answered}
    note = "one thread, payloads recorded; encode and decode only: the same integers, no runner"
    return compare(functions, work=f"network: {MESSAGES:,} messages in process", note=note)


def large_arrays() -> list[Row]:
    """100 MB of float32 arrays; the bar is 2 GB/s, that is 0.05 s."""
    arrays = [np.ones(VALUES, dtype=np.float32) for _ in range(ARRAYS)]

    def copied():
        return [array.copy() for array in arrays]

    def travelled():
        a, b = lambda link: send_all(link, arrays), lambda link: receive_all(link, ARRAYS)
        return network.run({"a": a, "b": b})

    functions = {"numpy copy": copied, "network.run": travelled}
    note = "both copy once into fresh memory, whose page faults are most of the time"
    return compare(functions, work="network: 100 MB of arrays in process", note=note)


def over_gloo() -> list[Row]:
    """The same 100 MB between two processes, for information: sealed, sent, opened, decoded."""
    with tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.get_context("spawn")
        keys = {name: channel.generate_identity() for name in "ab"}
        answers = context.SimpleQueue()
        processes = [
            context.Process(target=_party, args=(name, keys, folder, answers)) for name in "ab"
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join(120)
            if process.exitcode != 0:
                process.kill()
                raise RuntimeError(f"a party ended with {process.exitcode}")
        seconds = answers.get()
    arrays = [np.ones(VALUES, dtype=np.float32) for _ in range(ARRAYS)]
    key = bytes(32)

    def sealed():
        for number, array in enumerate(arrays):
            body = codec.encode(array).join()
            channel.open_sealed(key, b"", number, channel.seal(key, b"", number, body))

    work = "network: 100 MB of arrays over gloo on loopback"
    rows = compare({"seal and open only": sealed}, work=work, repeats=5)
    note = "medians of runs in two other processes, not in turn with the first row; no bar"
    rows.append({**rows[0], "name": "torch_distributed.run", "seconds": seconds, "note": note})
    rows[-1]["ratio"] = seconds / rows[0]["seconds"]
    return rows


def _party(name, keys, folder, answers):
    """One process: five exchanges in one run, after one to warm up."""
    from refimpl.network import torch_distributed

    arrays = [np.ones(VALUES, dtype=np.float32) for _ in range(ARRAYS)]

    async def role(link):
        seconds = []
        for round in range(6):
            here = link.in_round(round)
            start = time.perf_counter()
            if link.name == "a":
                await send_all(here, arrays)
                await here.receive("b", "done")
            else:
                await receive_all(here, ARRAYS)
                await here.send("a", "done", None)
            seconds.append(time.perf_counter() - start)
        return float(np.median(seconds[1:]))

    outcome = torch_distributed.run(
        role,
        name=name,
        parties="ab",
        private_key=keys[name][0],
        directory={party: public for party, (_, public) in keys.items()},
        init_method=f"file://{folder}/meet",
        deadline=60,
        record="sizes",
    )
    if name == "a":
        answers.put(outcome.results[name])
