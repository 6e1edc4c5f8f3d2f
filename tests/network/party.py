"""One process of the tests over ``torch.distributed``.

``python party.py FOLDER NAME BEHAVIOUR...`` runs a role once a behaviour, one run after the other,
and writes to FOLDER/BEHAVIOUR-NAME what came of each, in the payload codec. Under torchrun, NAME
is "by-rank".
"""

import hashlib
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from refimpl.network import NetworkError, channel, codec, torch_distributed

PARTICIPANTS = ("ana", "ben", "cleo")
PARTIES = ("server", *PARTICIPANTS)
DEADLINE = 60.0  # a run takes a second; a busy machine may take long to start four processes


def private_key(name, behaviour="sum"):
    """Fixed keys, which protect nobody; an impostor has another one than the directory says."""
    impostor = behaviour == "impostor" and name == "cleo"
    return hashlib.sha256(f"{name} {impostor}".encode()).digest()


def update(name):
    return np.random.default_rng([PARTIES.index(name), 1]).integers(0, 2**64, 1000, dtype=np.uint64)


async def participant(link, vector):
    """The additive sharing of the design: one's own share never travels."""
    rng = np.random.default_rng([PARTIES.index(link.name), 2])
    peers = [name for name in PARTICIPANTS if name != link.name]
    shares = {peer: rng.integers(0, 2**64, vector.shape, dtype=np.uint64) for peer in peers}
    partial = vector - sum(shares.values())
    for peer, share in shares.items():
        await link.send(peer, "share", share)
    for peer in peers:
        partial = partial + await link.receive(peer, "share")
    await link.send("server", "partial sum", {"sum": partial, "from": (link.name, 1)})


async def server(link):
    got = await link.gather(PARTICIPANTS, "partial sum")
    return sum(payload["sum"] for payload in got.values())


def roles():
    """The roles of all parties, for both runners."""
    return {"server": server} | {
        name: (lambda link: participant(link, update(link.name))) for name in PARTICIPANTS
    }


async def dies(link):
    Path(sys.argv[1], "cleo is running").touch()
    time.sleep(600)  # until the test kills it


async def waits_for_nothing(link):
    if link.name == "server":
        await link.receive("cleo", "a message that nobody sends")


def role_for(behaviour, name):
    if behaviour == "dies" and name == "cleo":
        return dies
    if behaviour == "stops":
        return waits_for_nothing
    return roles()[name]


def outcome_of(behaviour, folder, name):
    """The result, view and errors of one run, as a payload."""
    directory = {party: channel.public_key(private_key(party)) for party in PARTIES}
    if behaviour == "impostor" and name == "cleo":
        directory["cleo"] = channel.public_key(private_key("cleo", behaviour))
    outcome = torch_distributed.run(
        role_for(behaviour, name),
        name=name,
        parties=PARTIES,
        private_key=private_key(name, behaviour),
        directory=directory,
        deadline=DEADLINE,
        init_method=None if "RANK" in os.environ else f"file://{folder}/rendezvous",
    )
    return {"result": outcome.results[name], "messages": [tuple(m) for m in outcome.transcript]}


def main(folder, name, behaviours):
    for behaviour in behaviours:
        start = time.monotonic()
        try:
            report = outcome_of(behaviour, folder, name)
        except NetworkError as error:
            report = {"error": type(error).__name__, "text": str(error), "about": error.parties}
            report["seconds"] = time.monotonic() - start
        Path(folder, f"{behaviour}-{name}").write_bytes(codec.encode(report).join())


if __name__ == "__main__":
    signal.alarm(240)  # whatever happens, no process is left behind
    folder, name, *behaviours = sys.argv[1:]
    main(folder, PARTIES[int(os.environ["RANK"])] if name == "by-rank" else name, behaviours)
