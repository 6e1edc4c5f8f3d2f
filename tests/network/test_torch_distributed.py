"""Four processes on loopback. Each has a hard limit, and is killed by its pid at the end."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from refimpl import network
from refimpl.network import LostParty, channel, codec, torch_distributed

SCRIPT = Path(__file__).with_name("party.py")
LIMIT = 200  # seconds, for a busy machine: it is the import of torch that takes time

specification = importlib.util.spec_from_file_location("party", SCRIPT)
party = importlib.util.module_from_spec(specification)
specification.loader.exec_module(party)


def environment():
    loopback = next((n for _, n in socket.if_nameindex() if n in ("lo", "lo0")), None)
    extra = {"GLOO_SOCKET_IFNAME": loopback} if loopback else {}
    return {**os.environ, "OMP_NUM_THREADS": "1", **extra}


def read(folder, behaviour):
    """What each process reported of one run."""
    files = {name: folder / f"{behaviour}-{name}" for name in party.PARTIES}
    return {name: codec.decode(f.read_bytes()) for name, f in files.items() if f.exists()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """All runs, one after the other in the same four processes; Cleo is killed in the last."""
    folder = tmp_path_factory.mktemp("parties")
    behaviours = ("sum", "sum-again", "stops", "impostor", "dies")
    with ExitStack() as stack:
        processes = {}
        for name in party.PARTIES:
            arguments = [sys.executable, str(SCRIPT), str(folder), name, *behaviours]
            process = stack.enter_context(subprocess.Popen(arguments, env=environment()))
            stack.callback(process.kill)
            processes[name] = process
        until = time.monotonic() + LIMIT
        while not (folder / "cleo is running").exists() and time.monotonic() < until:
            time.sleep(0.02)
        os.kill(processes["cleo"].pid, signal.SIGKILL)
        for name, process in processes.items():
            assert process.wait(LIMIT) == (-signal.SIGKILL if name == "cleo" else 0), name
    return folder


def same_payload(one, other):
    return codec.encode(one).join() == codec.encode(other).join()


@pytest.mark.parametrize("behaviour", ["sum", "sum-again"])
def test_four_processes_get_the_result_and_the_bytes_of_the_in_process_run(folder, behaviour):
    expected = network.run(party.roles())
    updates = [party.update(name) for name in party.PARTICIPANTS]
    assert np.array_equal(expected.results["server"], sum(updates))
    reports = read(folder, behaviour)
    for name in party.PARTIES:
        report = reports[name]
        assert same_payload(report["result"], expected.results[name])
        view = sorted(expected.transcript.view(name), key=lambda m: m[:4])
        seen = sorted(report["messages"], key=lambda m: m[:4])
        assert [m[:4] for m in seen] == [m[:4] for m in view]
        assert [m[5] for m in seen] == [m.bytes for m in view]
        assert all(same_payload(m[4], v.payload) for m, v in zip(seen, view, strict=True))


def test_the_survivors_of_a_killed_process_name_it(folder):
    reports = read(folder, "dies")
    assert set(reports) == {"server", "ana", "ben"}
    for report in reports.values():
        assert "'cleo'" in report["text"]
        assert report["seconds"] < party.DEADLINE  # a closed connection is noticed at once
    for name in ("ana", "ben"):
        assert (reports[name]["error"], reports[name]["about"]) == ("LostParty", ("cleo",))
    # The server may first hear that another has ended, and that it ended for want of Cleo.
    assert reports["server"]["error"] in ("LostParty", "MissingMessage")


def test_a_process_that_has_ended_is_missed_by_name(folder):
    reports = read(folder, "stops")
    assert reports["server"]["error"] == "MissingMessage"
    assert reports["server"]["about"] == ("cleo",)
    assert reports["server"]["seconds"] < party.DEADLINE
    assert all("error" not in reports[name] for name in party.PARTICIPANTS)


def test_an_impostor_is_refused(folder):
    reports = read(folder, "impostor")
    for name in ("ana", "ben"):
        assert (reports[name]["error"], reports[name]["about"]) == ("TamperedMessage", ("cleo",))
    assert "'cleo'" in reports["server"]["text"]  # at first hand or at second
    assert all(report["seconds"] < party.DEADLINE for report in reports.values())


def test_torchrun_starts_the_same_roles(tmp_path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=4"]
    arguments = [*torchrun, str(SCRIPT), str(tmp_path), "by-rank", "sum", "sum-again"]
    subprocess.run(
        arguments, env=environment(), timeout=LIMIT, check=True, stderr=subprocess.DEVNULL
    )
    expected = network.run(party.roles()).results["server"]
    for behaviour in ("sum", "sum-again"):
        assert np.array_equal(read(tmp_path, behaviour)["server"]["result"], expected)


async def idle(link):
    pass


def arguments(**changes):
    private, public = channel.generate_identity()
    return {
        "name": "a",
        "parties": ("a", "b"),
        "private_key": private,
        "directory": {"a": public, "b": channel.generate_identity()[1]},
        "deadline": 0.3,
    } | changes


def test_a_party_that_never_starts_is_named(tmp_path):
    with pytest.raises(LostParty, match=r"\['b'\] did not start within 0.3 s") as caught:
        torch_distributed.run(idle, **arguments(init_method=f"file://{tmp_path}/meet"))
    assert caught.value.parties == ("b",)


def test_a_missing_rendezvous_names_its_host():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    start = time.monotonic()
    with pytest.raises(LostParty, match="no rendezvous") as caught:
        torch_distributed.run(
            idle, **arguments(parties=("b", "a"), init_method=f"tcp://127.0.0.1:{port}")
        )
    assert caught.value.parties == ("b",)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"parties": ("a", "a")}, "parties must be at least 2 different names"),
        ({"parties": ("a",)}, "parties must be at least 2 different names"),
        ({"name": "z"}, "name must be one of parties"),
        ({"directory": {}}, r"directory must hold the public key of each party, \['a', 'b'\]"),
        ({"private_key": bytes(32)}, r"private_key must belong to directory\['a'\]"),
        ({"patience": 1.0}, "patience must be between 0 and deadline=0.3"),
        ({"record": "all"}, "record must be"),
        ({"init_method": "udp://host:1"}, "init_method must be"),
        ({"init_method": "tcp://host"}, "init_method must be"),
        ({"init_method": "env://"}, "MASTER_ADDR and MASTER_PORT"),
    ],
)
def test_impossible_arguments_are_refused(changes, text, monkeypatch):
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(ValueError, match=text):
        torch_distributed.run(idle, **arguments(**changes))


def test_torch_is_loaded_only_by_this_runner():
    code = "import sys, refimpl.network; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=LIMIT)
