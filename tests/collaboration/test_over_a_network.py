import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from refimpl.collaboration import indirect
from refimpl.learning import LocalTraining
from refimpl.network import codec
from tests.collaboration import party

ROOT = Path(__file__).parents[2]
LIMIT = 200  # seconds, for a busy machine: it is the import of torch that takes time


def test_federated_averaging_in_three_processes_is_the_same(tmp_path, monkeypatch):
    """Bit for bit the models, byte for byte the messages; each process has its own role's view."""
    party.write_identities(tmp_path)
    loopback = next((name for _, name in socket.if_nameindex() if name in ("lo", "lo0")), None)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if loopback:
        environment["GLOO_SOCKET_IFNAME"] = loopback
    with ExitStack() as stack:
        processes = []
        for name in party.PARTIES:
            command = [sys.executable, "-m", "tests.collaboration.party", str(tmp_path), name]
            process = stack.enter_context(subprocess.Popen(command, cwd=ROOT, env=environment))
            stack.callback(process.kill)
            processes.append(process)
        assert [process.wait(LIMIT) for process in processes] == [0, 0, 0]
    # One job at a time, as in a process of its own: a batch of two may round differently.
    monkeypatch.setattr(LocalTraining, "batch_key", property(id))
    run = indirect.train(party.task(), rounds=party.ROUNDS, method=party.METHOD, seed=party.SEED)
    for name in party.PARTIES:
        report = codec.decode((tmp_path / f"{name}.out").read_bytes())
        if name == "server":
            assert report["result"] is None
        else:
            assert np.array_equal(report["result"], run.models[name])
        view = [[*message[:4], message.bytes] for message in run.transcript.view(name)]
        assert sorted(report["seen"]) == sorted(view)
