"""One role a process, over ``torch.distributed`` (gloo): the same role functions on real machines.

Each process names itself and runs its own role. ``hospital.py``, started once a party by
``torchrun --nproc-per-node 4 hospital.py`` (or on each machine with ``--nnodes``)::

    name = PARTIES[int(os.environ["RANK"])]
    outcome = torch_distributed.run(
        ROLES[name], name=name, parties=PARTIES,
        private_key=Path(f"{name}.key").read_bytes(),
        directory={party: Path(f"{party}.pub").read_bytes() for party in PARTIES})

The keys come from ``channel.generate_identity()``: each party makes its own pair, keeps the
private half, and gives the public half to all others, once, over a way that they trust.
torchrun ends every process when one dies. Where the others shall go on, start the processes one
by one with ``init_method="tcp://host:port"``, the host being the first party's.

Adversary: ``channel``'s, who owns the network and holds no identity. gloo and its rendezvous are
not authenticated: whoever reaches their ports can join in a party's place, send nonsense or cut
connections. Each of these ends in an error, or in a crash of the process: denial, which nobody
on a network can prevent. What a role is handed always carries its sender's tag, so that nothing
is read or forged. That gloo and its store survive hostile bytes is torch's to ensure, not ours.

Beside its messages, a run sends 16 random bytes a party through the rendezvous store, and a
goodbye to each peer. They are set-up, and not in the transcript.
"""

import contextlib
import itertools
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Literal
from urllib.parse import urlsplit

import torch
import torch.distributed as dist

from refimpl.network import channel
from refimpl.network.connection import Endpoint
from refimpl.network.errors import LostParty
from refimpl.network.link import Role
from refimpl.network.mailbox import Mailbox
from refimpl.network.runner import Outcome
from refimpl.network.transcript import Transcript

FOREVER = timedelta(days=3650)  # a receive that times out would break gloo's connections
_stores: dict[str, tuple[dist.Store, Iterator[int]]] = {}


def run(
    role: Role,
    *,
    name: str,
    parties: Sequence[str],
    private_key: bytes,
    directory: Mapping[str, bytes],
    deadline: float = 30.0,
    patience: float | None = None,
    init_method: str | None = None,
    record: Literal["payloads", "sizes"] = "payloads",
) -> Outcome:
    """Run the role of party ``name`` in this process, with the others in processes of their own.

    ``parties`` lists all names, in one order everywhere; ``directory`` has their X25519 public
    keys. ``init_method`` is "env://" (default, ``torchrun``'s), "tcp://host:port" or "file://path";
    the same processes may run again and again by the same one.

    The outcome holds this party's result and its own view of the messages; its error is raised.

    No wait is longer than ``deadline`` seconds: not for the others to start, nor for a message,
    nor, at the end, for the others to end (a process stays so long that nobody's last message is
    cut off). A ``gather`` that has enough waits for the rest ``patience`` seconds (default: a
    third of the deadline, so that those who wait for its outcome still do).

    Raises ``LostParty`` (a process or connection is gone, or never came), ``MissingMessage`` (it
    ended, or nothing came in time), ``TamperedMessage`` (a changed, repeated or reordered frame,
    or another identity than the directory's; nothing more is read from that peer) and
    ``MalformedMessage`` (not a payload, or a frame longer than 2 GiB).
    """
    patience = deadline / 3 if patience is None else patience
    _check(name, parties, private_key, directory, deadline, patience, record)
    salts = _join(init_method or "env://", name, parties, deadline)
    mailbox = Mailbox(name, deadline=deadline, patience=patience)
    endpoint = Endpoint(name, mailbox, payloads=record == "payloads")
    try:
        for rank, peer in enumerate(parties):
            if peer != name:
                salt = salts[name], salts[peer]
                keys = channel.keys(private_key, directory[peer], name, peer, *salt)
                endpoint.connect(peer, _Gloo(rank), *keys)
        result = endpoint.run(role)
    finally:
        dist.destroy_process_group()
    transcript = Transcript(endpoint.messages, parties)
    return Outcome({name: result}, {}, transcript, mailbox.unread())


def _check(
    name: str,
    parties: Sequence[str],
    private_key: bytes,
    directory: Mapping[str, bytes],
    deadline: float,
    patience: float,
    record: str,
) -> None:
    if len(set(parties)) != len(parties) or len(parties) < 2:
        raise ValueError(f"parties must be at least 2 different names, got {list(parties)}")
    if name not in parties:
        raise ValueError(f"name must be one of parties={list(parties)}, got {name!r}")
    unknown = sorted(set(parties) - set(directory))
    if unknown:
        raise ValueError(f"directory must hold the public key of each party, {unknown} are missing")
    if channel.public_key(private_key) != directory[name]:
        raise ValueError(f"private_key must belong to directory[{name!r}], it does not")
    if not 0 <= patience <= deadline:
        raise ValueError(
            f"patience must be between 0 and deadline={deadline}, in seconds, got {patience}"
        )
    if record not in ("payloads", "sizes"):
        raise ValueError(f"record must be 'payloads' or 'sizes', got {record!r}")
    if dist.is_initialized():
        raise RuntimeError(
            "torch.distributed is in use in this process: call destroy_process_group() first"
        )


# --- joining ----------------------------------------------------------------------------------


def _join(init_method: str, name: str, parties: Sequence[str], deadline: float) -> dict[str, bytes]:
    """Connect all parties; the random salt of each."""
    start, rank = time.monotonic(), list(parties).index(name)

    def left() -> timedelta:
        return timedelta(seconds=max(0.01, deadline - (time.monotonic() - start)))

    try:
        store = _store(init_method, rank, len(parties), left())
        store.set(f"salt/{name}", secrets.token_hex(channel.SALT_BYTES))
    except (OSError, RuntimeError) as error:
        text = f"no rendezvous at {init_method}, where {parties[0]!r} should be: {error}"
        raise LostParty(text, parties[:1]) from error
    absent = [party for party in parties if not _present(store, party, left())]
    if absent:
        raise LostParty(f"{absent} did not start within {deadline:g} s", absent)
    salts = {party: store.get(f"salt/{party}") for party in parties}
    try:
        # gloo tries each connection anew up to four times, and may take the timeout each time.
        dist.init_process_group(
            "gloo", store=store, rank=rank, world_size=len(parties), timeout=left() / 5
        )
    except RuntimeError as error:
        others = [party for party in parties if party != name]
        raise LostParty(f"the connection with one of {others} failed: {error}", others) from error
    return salts


def _store(init_method: str, rank: int, processes: int, timeout: timedelta) -> dist.Store:
    """The key-value store of this run, by which the parties meet. It is not authenticated.

    The first party's process keeps its server until it exits: one that is quick to start its next
    run would otherwise meet the store of the last.
    """
    if init_method not in _stores:
        _stores[init_method] = _open_store(init_method, rank, processes, timeout), itertools.count()
    store, runs = _stores[init_method]
    store.set_timeout(timeout)
    return dist.PrefixStore(f"refimpl/{next(runs)}", store)


def _open_store(init_method: str, rank: int, processes: int, timeout: timedelta) -> dist.Store:
    url = urlsplit(init_method)
    host, port, prefix = url.hostname, url.port, None
    if url.scheme == "file":
        return dist.FileStore(url.path, processes)
    if url.scheme == "env":
        try:
            host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        except (KeyError, ValueError):
            raise ValueError(
                "init_method 'env://' must find MASTER_ADDR and MASTER_PORT in the environment: "
                "start by torchrun, or give init_method='tcp://host:port'"
            ) from None
        if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":  # torchrun serves it itself
            prefix, rank = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), -1
    elif url.scheme != "tcp" or not host or not port:
        raise ValueError(
            f"init_method must be env://, tcp://host:port or file://path, got {init_method!r}"
        )
    if rank != 0:
        _wait_for_server(host, port, time.monotonic() + timeout.total_seconds())
    store = dist.TCPStore(host, port, None, rank == 0, timeout, wait_for_workers=False)
    return store if prefix is None else dist.PrefixStore(prefix, store)


def _wait_for_server(host: str, port: int, until: float) -> None:
    """Wait for a server: the store's own client would wait several times its timeout."""
    while True:
        try:
            return socket.create_connection((host, port), until - time.monotonic()).close()
        except OSError:
            if time.monotonic() + 0.2 > until:
                raise
            time.sleep(0.1)


def _present(store: dist.Store, party: str, timeout: timedelta) -> bool:
    try:
        store.wait([f"salt/{party}"], timeout)
    except RuntimeError:
        return False
    return True


class _Gloo:
    """The wire to the process of one rank. gloo needs to know each length before it arrives."""

    def __init__(self, rank: int):
        self._rank = rank

    def send(self, data: bytearray) -> None:
        self._finish(dist.isend, torch.frombuffer(data, dtype=torch.uint8))

    def receive(self, size: int) -> memoryview:
        buffer = torch.empty(size, dtype=torch.uint8)
        self._finish(dist.irecv, buffer)
        return buffer.numpy().data

    def cut(self) -> None:
        # A receive that times out is gloo's one way to wake threads that are blocked in it.
        with contextlib.suppress(ConnectionError):
            self._finish(dist.irecv, torch.empty(1), tag=1, timeout=timedelta(milliseconds=1))

    def _finish(
        self, start: Callable, buffer: torch.Tensor, *, tag: int = 0, timeout: timedelta = FOREVER
    ) -> None:
        try:
            start(buffer, self._rank, tag=tag).wait(timeout)
        except RuntimeError as error:
            raise ConnectionError(str(error)) from None
