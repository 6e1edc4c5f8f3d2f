"""Secure aggregation: its masks, a client and a round beside Flower's, and growth with n.

Flower 1.41 is an optional peer: without it, its comparisons are left out, and a line says so.
"""

import importlib
import multiprocessing
import os
import resource
import time
from collections.abc import Callable
from functools import partial
from unittest import mock

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from rich.console import Console

from bench.harness import Row, compare, installed
from refimpl import network
from refimpl.aggregation import Group
from refimpl.aggregation.secure_aggregation import SecAggPlus, SecureAggregation
from refimpl.aggregation.secure_aggregation_client import Participant
from refimpl.aggregation.secure_aggregation_server import Collector
from refimpl.aggregation.secure_aggregation_terms import Credentials
from refimpl.arithmetic import randomness
from refimpl.smc import key_agreement, masks, neighbours

PARTIES, LENGTH = 100, 100_000
LARGE_PARTIES, LARGE_LENGTH = 1_000, 1_000_000
GROWTH = (100, 300, 1_000, 3_000, 10_000)  # parties of which one SecAgg+ client is timed
SEED = bytes(range(16))
BOUND = 3.0  # Flower's clipping range by default is 8; both encode all values without clipping


def run() -> list[list[Row]]:
    """The rows of each comparison."""
    beside_flower = [a_client(), a_round()] if _flower() else []
    return [masking(), *beside_flower, signatures(), growth(), large()]


def masking() -> list[Row]:
    """A client's 100 masks of 100,000 words and one of a million, beside the bare AES stream."""
    vector, long, block = np.zeros(LENGTH, np.uint32), np.zeros(1_000_000, np.uint32), 1 << 17
    zeros, out = memoryview(bytes(block)), memoryview(bytearray(block))
    size = PARTIES * vector.nbytes  # ten masks of a million words are as much

    def bare():
        stream = Cipher(algorithms.AES(SEED), modes.CTR(bytes(16))).encryptor()
        for start in range(0, size, block):
            length = min(block, size - start)
            stream.update_into(zeros[:length], out[:length])

    seeds = randomness.seeded(0)
    signed = [(seeds.bytes(masks.SEED_BYTES), 1) for _ in range(PARTIES)]

    def ten_long():
        for seed, sign in signed[:10]:
            masks.add(long, seed, sign=sign)

    functions = {
        "AES-128-CTR alone": bare,
        "masks.add_each, 100 of 400 kB": partial(_one_thread, masks.add_each, vector, signed),
        "the same, in threads": lambda: masks.add_each(vector, signed),
        "masks.add, 10 of 4 MB": ten_long,
    }
    note = (
        "one thread, but for the third row; the bare stream overwrites one block of 128 KiB and "
        "keeps nothing"
    )
    rows = compare(functions, work="secure aggregation: masks of 40 MB in all", note=note)
    for row in rows:
        _say(f"{row['name']}: {size / row['seconds'] / 1e9:.1f} GB/s")
    return rows


def a_client() -> list[Row]:
    """All that one of 100 clients computes in a round, nobody dropping out."""
    note = (
        "ours: X25519, AES-128 masks of 23 bits, keys and shares bound to round and names; "
        "Flower 1.41: P-384, masks of 32 bits from a generator with a 32-bit seed that is not "
        "cryptographic, twice as many bytes a share; its own stage functions, called in turn. "
        "Ours adds its masks in as many threads as there are cores, Flower uses one. "
        "No network, no training, no serialization of messages except Flower's of the vector"
    )
    curious = Client(SecureAggregation(bound=BOUND)).work
    functions = {
        "refimpl, honest-but-curious": curious,
        "the same, one thread": partial(_one_thread, curious),
        "refimpl, active": Client(SecureAggregation(bound=BOUND, adversary="active")).work,
        "Flower SecAgg": FlowerClient().work,
    }
    return compare(functions, work=f"secure aggregation: a client of {_size()}", note=note)


def a_round() -> list[Row]:
    """The whole round in process, against Flower's extrapolated from a client and its unmasking."""
    peer = FlowerClient()

    def one_of_all():
        peer.work()
        peer.unmask_one()

    functions = {"refimpl": Round(SecureAggregation(bound=BOUND)).work, "Flower, one": one_of_all}
    note = (
        f"ours: measured, messages encoded and recorded. Flower's: EXTRAPOLATED, {PARTIES} times "
        "one client and what the server does for it (adding its vector, recovering its seed, "
        "unmasking), without any messages; the table shows that one, the record all of them"
    )
    rows = compare(
        functions, work=f"secure aggregation: a round of {_size()}", repeats=5, note=note
    )
    for key in ("ratio", "seconds"):
        rows[1][key] *= PARTIES
    rows[1]["name"] = "Flower SecAgg, extrapolated"
    _say(f"Flower's round, extrapolated, takes {rows[1]['ratio']:.0f} times ours")
    return rows


def signatures() -> list[Row]:
    """What security against an active adversary adds for a client, and the part of signatures."""
    identity = key_agreement.generate_identity()
    tag = key_agreement.sign(identity.private, SEED, purpose="bench")

    def signed():
        for _ in range(2):  # its advert, and the survivors
            key_agreement.sign(identity.private, SEED, purpose="bench")
        for _ in range(2 * (PARTIES - 1)):  # those of all others
            key_agreement.verify(identity.public, tag, SEED, purpose="bench")

    functions = {
        "active": Client(SecureAggregation(bound=BOUND, adversary="active")).work,
        "honest-but-curious": Client(SecureAggregation(bound=BOUND)).work,
        "Ed25519 alone": signed,
    }
    note = f"Ed25519 alone: 2 signatures made and {2 * (PARTIES - 1)} checked, the active client's"
    return compare(functions, work=f"secure aggregation: signatures, {_size()}", note=note)


def growth() -> list[Row]:
    """A SecAgg+ client's time for more and more parties, beside the logarithm that fits it."""
    clients = [NeighbourhoodClient(n) for n in GROWTH]
    functions = {f"n = {c.parties}, k = {c.degree}": partial(_one_thread, c.work) for c in clients}
    work = f"secure aggregation: a SecAgg+ client, {LENGTH:,} values"
    note = (
        "5 % corrupt, 5 % drop out, sigma = 40, eta = 30; real neighbours, theirs too; one thread"
    )
    rows = compare(functions, work=work, note=note)
    slope, start = np.polyfit(np.log(GROWTH), [row["ratio"] for row in rows], 1)
    fitted = slope * np.log(GROWTH) + start
    off = max(abs(f / row["ratio"] - 1) for f, row in zip(fitted, rows, strict=True))
    fit = f"time / first = {start:.2f} + {slope:.2f} ln n, within {100 * off:.0f} %"
    for row in rows:
        row["note"] += f"; {fit}"
    _say(f"{fit}; a hundred times as many parties: {rows[-1]['ratio']:.1f} times the work")
    return rows


def large() -> list[Row]:
    """1,000 parties with a million values each, in a process of its own, and its memory."""
    context = multiprocessing.get_context("spawn")
    answers = context.SimpleQueue()
    process = context.Process(target=_large, args=(answers,))
    process.start()
    process.join(1_200)
    if process.exitcode != 0:
        process.kill()
        raise RuntimeError(f"the large round ended with {process.exitcode}")
    seconds, peak, degree, wrong = answers.get()
    note = (
        f"SecAgg+ with k = {degree}, one process, payloads not recorded, a single run; "
        f"peak memory {peak:.1f} GiB; largest error of the sum {wrong:.2g} of the bound"
    )
    work = f"secure aggregation: a round of {LARGE_PARTIES:,} parties, {LARGE_LENGTH:,} values"
    _say(f"{work}: {seconds:.0f} s. {note}")
    row = {"work": work, "name": "refimpl, SecAgg+", "ratio": 1.0, "seconds": seconds}
    return [{**row, "repeats": 1, "note": note, "peak_gib": peak}]


class Client:
    """One contributor among 100, with what the others and the collector send it, made before."""

    def __init__(self, aggregation: SecureAggregation) -> None:
        self.vector = np.random.default_rng(0).uniform(-BOUND, BOUND, LENGTH)
        self.terms, self.credentials = _terms(aggregation, PARTIES)
        names = self.terms.contributors
        graph = [np.delete(np.arange(PARTIES), party) for party in range(PARTIES)]
        server = Collector(self.terms, graph)
        everybody = {name: self._participant(name) for name in names}
        self.rosters = server.rosters({n: p.advertise() for n, p in everybody.items()})
        shares = {n: p.share(self.rosters[n]) for n, p in everybody.items()}
        self.relayed = server.relay(shares)
        server.lengths = dict.fromkeys(range(PARTIES), LENGTH)  # the vectors are not needed here
        self.survivors = server.announce()
        self.endorsements = None
        if self.terms.active:
            for name, participant in everybody.items():
                participant.open(self.relayed[name])
            signed = {n: p.accept(self.survivors[n]) for n, p in everybody.items()}
            self.endorsements = server.endorse(signed)

    def _participant(self, name: str) -> Participant:
        """With the same keys each time, so that what was sealed for it stays readable."""
        given = self.credentials[name]
        rng = randomness.seeded(0, name)
        return Participant(
            name, self.terms, Credentials(given.session, rng, given.identity, given.directory)
        )

    def work(self) -> None:
        """All phases of one client."""
        name = self.terms.contributors[0]
        me = self._participant(name)
        me.advertise()
        me.share(self.rosters[name])
        me.open(self.relayed[name])
        me.mask(self.terms.encoding.encode(self.vector).astype(np.uint32))
        me.accept(self.survivors[name])
        me.reveal(self.endorsements[name] if self.endorsements else None)


class NeighbourhoodClient:
    """One SecAgg+ contributor among n. Only it, its neighbours and theirs are computed."""

    def __init__(self, parties: int) -> None:
        self.parties = parties
        aggregation = SecAggPlus(bound=BOUND)
        self.degree = aggregation.plan(parties).neighbours
        self.vector = np.random.default_rng(0).uniform(-BOUND, BOUND, LENGTH)
        self.terms, _ = _terms(aggregation, parties)
        names = self.terms.contributors
        drawn = neighbours.graph(names, self.degree, randomness.seeded(0))
        position = {name: place for place, name in enumerate(names)}
        graph = [np.sort([position[peer] for peer in drawn[name]]) for name in names]
        server = Collector(self.terms, graph)
        near = {names[0], *drawn[names[0]]}
        near_or_next = near.union(*(drawn[name] for name in near))
        people = {name: self._participant(name) for name in near_or_next}
        self.roster = server.rosters({n: p.advertise() for n, p in people.items()})
        shares = {name: people[name].share(self.roster[name]) for name in near}
        self.relayed = server.relay(shares)[names[0]]
        server.lengths = dict.fromkeys((position[name] for name in near), LENGTH)
        self.survivors = server.announce()[names[0]]

    def _participant(self, name: str) -> Participant:
        rng = randomness.seeded(0, name)
        return Participant(name, self.terms, Credentials(self.terms.session, rng))

    def work(self) -> None:
        """All phases of the client."""
        name = self.terms.contributors[0]
        me = self._participant(name)
        me.advertise()
        me.share(self.roster[name])
        me.open(self.relayed)
        me.mask(self.terms.encoding.encode(self.vector).astype(np.uint32))
        me.accept(self.survivors)
        me.reveal()


class Round:
    """The protocol from end to end, in process."""

    def __init__(
        self, aggregation, parties: int = PARTIES, length: int = LENGTH, dtype=np.float64
    ) -> None:
        self.aggregation, self.length, self.dtype = aggregation, length, dtype
        self.group = Group("server", tuple(_name(k) for k in range(parties)), 0)
        self.credentials = aggregation.setup([*self.group.contributors, "server"])
        rng = np.random.default_rng(0)
        self.signs = {name: rng.choice([-1, 1]) for name in self.group.contributors}
        self.base = rng.uniform(-BOUND, BOUND, length).astype(dtype)

    async def _contribute(self, link) -> None:
        """The vector is made when its owner's turn comes: base or its negative."""
        vector = self.signs[link.name] * self.base
        given = self.credentials[link.name]
        await self.aggregation.contribute(link, vector, self.group, given)

    def work(self) -> np.ndarray:
        """The sum that the collector finds."""
        roles = dict.fromkeys(self.group.contributors, self._contribute)
        given = self.credentials["server"]
        roles["server"] = partial(self.aggregation.collect, group=self.group, credentials=given)
        outcome = network.run(roles, required=["server"], record="sizes")
        return outcome.results["server"][0]

    def error(self, total: np.ndarray) -> float:
        """The largest error of a sum, in units of the bound."""
        exact = self.base.astype(np.float64) * sum(self.signs.values())
        return float(np.abs(total - exact).max()) / BOUND


class FlowerClient:
    """One client of Flower's SecAgg+ with everybody as neighbour, by its own stage functions."""

    def __init__(self) -> None:
        from flwr.common import bytes_to_ndarray, ndarrays_to_parameters
        from flwr.common.secure_aggregation import secaggplus_utils
        from flwr.common.secure_aggregation.crypto import shamir, symmetric_encryption
        from flwr.supercore.primitives import asymmetric

        # By name, because its package has a function of the same name.
        stages = importlib.import_module("flwr.client.mod.secure_aggregation.secaggplus_mod")
        self.stages, self.utils, self.shamir = stages, secaggplus_utils, shamir
        self.read = bytes_to_ndarray
        vector = np.random.default_rng(0).uniform(-BOUND, BOUND, LENGTH)
        self.parameters = ndarrays_to_parameters([vector])
        self.threshold = SecureAggregation().plan(PARTIES).threshold
        self.settings = {
            stages.Key.SAMPLE_NUMBER: PARTIES,
            stages.Key.SHARE_NUMBER: PARTIES,
            stages.Key.THRESHOLD: self.threshold,
            stages.Key.CLIPPING_RANGE: BOUND,
            stages.Key.TARGET_RANGE: 1 << 16,
            stages.Key.MOD_RANGE: 1 << 32,
            stages.Key.MAX_WEIGHT: 1.0,
        }
        self.state = stages.SecAggPlusState(nid=0)
        stages._setup(self.state, self.settings)
        others = {nid: stages.SecAggPlusState(nid=nid) for nid in range(1, PARTIES)}
        for state in others.values():
            stages._setup(state, self.settings)
        everybody = {0: self.state, **others}
        self.keys = {str(nid): (state.pk1, state.pk2) for nid, state in everybody.items()}
        # The others' shares are as long as one's own, and their content costs nothing.
        self.seed_shares = shamir.create_shares(bytes(32), self.threshold, PARTIES)
        key_share = shamir.create_shares(self.state.sk1, self.threshold, PARTIES)[0]
        public = asymmetric.bytes_to_public_key(self.state.pk2)
        self.sealed = {stages.Key.SOURCE_LIST: list(others), stages.Key.CIPHERTEXT_LIST: []}
        for nid, state in others.items():
            private = asymmetric.bytes_to_private_key(state.sk2)
            key = symmetric_encryption.generate_shared_key(private, public)
            text = secaggplus_utils.share_keys_plaintext_concat(
                nid, 0, self.seed_shares[0], key_share
            )
            ciphertext = symmetric_encryption.encrypt(key, text)
            self.sealed[stages.Key.CIPHERTEXT_LIST].append(ciphertext)

    def work(self) -> None:
        """All four stages. The keys made are dropped: what others sealed is for those before."""
        stages, key = self.stages, self.stages.Key
        stages._setup(stages.SecAggPlusState(nid=0), self.settings)
        stages._share_keys(self.state, dict(self.keys))
        masked = stages._collect_masked_vectors(self.state, self.sealed, 1, self.parameters)
        self.masked = masked[key.MASKED_PARAMETERS]
        alive = {key.ACTIVE_NODE_ID_LIST: list(range(PARTIES)), key.DEAD_NODE_ID_LIST: []}
        stages._unmask(self.state, alive)

    def unmask_one(self) -> None:
        """What the server does for this client: add its vector, recover its seed, unmask."""
        vector = [self.read(data) for data in self.masked]
        total = [part + part for part in vector]
        seed = self.shamir.combine_shares(self.seed_shares[: self.threshold])
        mask = self.utils.pseudo_rand_gen(seed, 1 << 32, [part.shape for part in total])
        total = [part - other for part, other in zip(total, mask, strict=True)]


def _terms(aggregation, parties: int):
    """The terms of a sum, and what each of its contributors was given."""
    group = Group("server", tuple(_name(k) for k in range(parties)), 0)
    credentials = aggregation.setup([*group.contributors, "server"])
    return aggregation._terms(group, credentials["server"]), credentials


def _large(answers) -> None:
    round = Round(SecAggPlus(bound=BOUND), LARGE_PARTIES, LARGE_LENGTH, np.float32)
    start = time.perf_counter()
    total = round.work()
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # Linux counts in KiB
    degree = round.aggregation.plan(LARGE_PARTIES).neighbours
    answers.put((seconds, peak, degree, round.error(total)))


def _one_thread(function: Callable[..., None], *arguments: object) -> None:
    """Call ``function`` with its masks added in this thread alone."""
    with mock.patch.object(masks, "_threads", lambda words: 1):
        function(*arguments)


def _flower() -> bool:
    """Whether Flower is there to be compared with."""
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
    return installed("flwr", "1.41.0")


def _name(party: int) -> str:
    return f"party {party:05}"


def _size() -> str:
    return f"{PARTIES} parties, {LENGTH:,} values"


def _say(text: str) -> None:
    Console().print(text, highlight=False)
