"""Asynchronous SGD at a server that never decrypts: E(w) ⊞ E(-α G) = E(w - α G).

Participants share a key pair, the server has the public key alone. Turn t is one participant's:

    server        "model", E(w) -> participant       decrypts w, computes G on a batch at w
    participant   "update", E(-α G) -> server        adds it: E(w) <- E(w) ⊞ E(-α G)

Values are fixed-point numbers, and a ciphertext holds so many summands at most: w is the sum of the
initial weights and of every update so far. So the encoding has room for as many as there are turns,
and a run that needs more than the scheme can hold is refused before it begins. What comes out is
the same arithmetic in clear, bit for bit: ``scheme="none"`` runs that.

A key holder draws the pair and hands it out: ``roles`` stands for it.
Adversary: withstands an honest-but-curious server that works with no participant. It sees
ciphertexts, whose turn it is, how many turns there were, and the length. **The server together with
any participant reads every update.** Participants read the weights at their turns: the difference
between two of them is the sum of the updates between. So two participants whose turns enclose a
third's read its update without the server, one does where there are two in all, and, as initial and
final weights are known to all, the second reads the first update and the one before the last reads
the last (with ``staleness``, sums of as many more).
Lies: a participant may encrypt any update within the bound; the server may hand out old weights, or
add what it likes. None is detected unless it is malformed.
Source: Phong, Aono, Hayashi, Wang and Moriai 2018, with LWE or Paillier;
"lattice" here is their LWE with rings. The server may fall behind as in ``AsynchronousSGD``.
"""

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from typing import Any, Literal, get_args

import numpy as np

from refimpl.aggregation import encrypted
from refimpl.aggregation.encrypted import PublicKey
from refimpl.arithmetic.fixed_point import FixedPoint
from refimpl.arithmetic.randomness import CryptoGenerator
from refimpl.collaboration.asynchronous import turn_order
from refimpl.collaboration.run import (
    SERVER,
    Report,
    Setting,
    cast_like,
    check_count,
    check_positive,
    make_floats,
)
from refimpl.he import lwe, paillier, rlwe
from refimpl.he.ciphertext import Ciphertext, Terms, parse
from refimpl.learning import Examples, Gradient, Model
from refimpl.network import Link, MalformedMessage
from refimpl.network.runner import Role

Scheme = Literal["lattice", "paillier", "lwe", "none"]


@dataclass(frozen=True, kw_only=True)
class EncryptedSGD:
    """Encrypted asynchronous SGD, a method of ``indirect.train``.

    ``learning_rate``, ``batch_size``, ``staleness`` (less than there are participants): as in
    ``AsynchronousSGD``. ``scheme``: "lattice" (ring LWE), "paillier" (2048 bits), "lwe", or "none":
    the same fixed-point arithmetic in clear, which PROTECTS NOBODY. ``bound``, ``bits``: the
    ``FixedPoint`` of the initial weights and of one update; a value over the bound is an error.
    """

    learning_rate: float = 0.1
    batch_size: int | None = None
    staleness: int = 0
    _: KW_ONLY
    scheme: Scheme = "lattice"
    bound: float = 16.0
    bits: int = 24

    def __post_init__(self) -> None:
        check_positive(learning_rate=self.learning_rate)
        make_floats(self, "learning_rate")
        if self.batch_size is not None:
            check_count(batch_size=self.batch_size)
        check_count(0, staleness=self.staleness)
        if self.scheme not in get_args(Scheme):
            raise ValueError(f"scheme must be one of {get_args(Scheme)}, got {self.scheme!r}")
        self.encoding(1)

    def encoding(self, turns: int) -> FixedPoint:
        """With room for the initial weights and an update each turn; ValueError if there is none.

        The scheme may allow less: its key pair is drawn before anybody trains, and says so.
        """
        return FixedPoint(self.bound, self.bits, 1 + turns)

    def server_roles(self, setting: Setting) -> dict[str, Role]:
        """The roles: participants have both keys, the server has the public one."""
        setting.require_plain(self)
        task = setting.task
        if self.staleness >= len(task.participants):
            raise ValueError(
                f"staleness must be below participants={len(task.participants)}, got "
                f"{self.staleness}: nobody would be handed the weights of every round"
            )
        turns = turn_order(task.participants, setting.rounds)
        public, private = keypair(self.scheme, self.encoding(len(turns)))
        initial = public.encrypt(task.initial_parameters().astype(np.float64))
        roles: dict[str, Role] = {
            name: partial(
                participant,
                method=self,
                public=public,
                private=private,
                turns=[turn for turn, whose in enumerate(turns) if whose == name],
                last=len(turns),
                count=len(task.participants),
                model=task.model,
                parameters=task.initial_parameters(),
                examples=examples,
                rng=setting.generator("local training", name),
                report=setting.report,
            )
            for name, examples in task.data.items()
        }
        roles[SERVER] = partial(
            server,
            public=public,
            turns=turns,
            participants=task.participants,
            staleness=self.staleness,
            total=initial,
        )
        return roles


async def participant(
    link: Link,
    method: EncryptedSGD,
    public: Any,
    private: Any,
    turns: Sequence[int],
    last: int,
    count: int,
    model: Model,
    parameters: np.ndarray,
    examples: Examples,
    rng: np.random.Generator,
    report: Report,
) -> np.ndarray:
    """At each of its turns: decrypt the weights, send the encrypted step of one batch."""
    size = min(method.batch_size or len(examples), len(examples))
    order: np.ndarray = np.empty(0, np.int64)
    for turn in turns:
        applied = max(0, turn - method.staleness)
        if len(order) < size:
            order = rng.permutation(len(examples))
        chosen, order = order[:size], order[size:]
        here = link.in_round(turn)
        parameters = await decrypted(here, public, private, applied, parameters)
        if applied and applied % count == 0:
            report(applied // count - 1, parameters)
        job = Gradient(model, parameters, examples.x[chosen], examples.y[chosen])
        step = -method.learning_rate * await here.compute(job)
        await here.send(SERVER, "update", public.encrypt(step).to_bytes())
    parameters = await decrypted(link.in_round(last), public, private, last, parameters)
    if turns[-1] == last - 1:
        report(last // count - 1, parameters)
    return parameters


async def server(
    link: Link,
    public: PublicKey,
    turns: Sequence[str],
    participants: Sequence[str],
    staleness: int,
    total: Ciphertext,
) -> None:
    """Hand E(w) out ``staleness`` turns ahead of the update that is added to it."""
    for turn in range(len(turns) + staleness):
        if turn < len(turns):
            await link.in_round(turn).send(turns[turn], "model", total.to_bytes())
        added = turn - staleness
        if added >= 0:
            sender = turns[added]
            data = await link.in_round(added).receive(sender, "update")
            update = encrypted.read(public.from_bytes, data, sender)
            total = sum_of(public, total, update, sender)
    await link.in_round(len(turns)).broadcast(participants, "model", total.to_bytes())


def sum_of(public: PublicKey, total: Ciphertext, update: Ciphertext, sender: str) -> Ciphertext:
    """E(w) ⊞ E(-α G); MalformedMessage, naming the sender, for what is not one update of w."""
    if update.summands != 1 or update.length != total.length:
        raise MalformedMessage(
            f"{sender!r} must send one update of length {total.length}, got the sum of "
            f"{update.summands} of length {update.length}",
            [sender],
        )
    return public.add(total, update)


async def decrypted(
    link: Link, public: PublicKey, private: Any, updates: int, like: np.ndarray
) -> np.ndarray:
    """The weights after so many updates, in the type and shape of ``like``."""
    total = encrypted.read(public.from_bytes, await link.receive(SERVER, "model"), SERVER)
    if (total.summands, total.length) != (1 + updates, len(like)):
        raise MalformedMessage(
            f"{SERVER!r} must send {len(like)} weights after {updates} updates, got "
            f"{total.length} after {total.summands - 1}",
            [SERVER],
        )
    try:
        values = private.decrypt(total)
    except ValueError as error:
        raise MalformedMessage(
            f"{SERVER!r} sent weights that cannot be decrypted: {error}", [SERVER]
        ) from error
    return cast_like(values, like, sender=SERVER)


# --- keys ---------------------------------------------------------------------------------------


def keypair(scheme: Scheme, encoding: FixedPoint) -> tuple[Any, Any]:
    """(public, private) of a scheme, drawn from the secure generator."""
    draw: dict[Scheme, Callable[[], tuple[Any, Any]]] = {
        "lattice": lambda: rlwe.generate_keypair(encoding=encoding),
        "paillier": lambda: paillier.generate_keypair(encoding=encoding),
        "lwe": lambda: lwe.generate_keypair(encoding=encoding),
        "none": lambda: (InClear(encoding),) * 2,
    }
    return draw[scheme]()


@dataclass(frozen=True)
class InClear:
    """Both keys of no encryption: the fixed-point integers themselves. IT PROTECTS NOBODY."""

    encoding: FixedPoint
    terms: Terms = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "terms", Terms("none", bytes(16), self.encoding))

    def encrypt(self, vector: np.ndarray, rng: CryptoGenerator | None = None) -> Ciphertext:
        """The encodings."""
        values = self.encoding.encode(vector)
        return Ciphertext(self.terms, len(values), 1, (values,))

    def add(self, *ciphertexts: Ciphertext) -> Ciphertext:
        """The sum of the encodings."""
        summands = self.terms.total(ciphertexts)
        values = np.sum([c.arrays[0] for c in ciphertexts], axis=0, dtype=np.uint64)
        return Ciphertext(self.terms, ciphertexts[0].length, summands, (np.asarray(values),))

    def from_bytes(self, data: bytes) -> Ciphertext:
        """What ``to_bytes`` wrote, checked."""
        ciphertext = parse(data)
        self.terms.check(ciphertext)
        found = [(array.dtype.name, array.shape) for array in ciphertext.arrays]
        if found != [("uint64", (ciphertext.length,))]:
            raise ValueError(f"{ciphertext.length} values must come as so many uint64")
        return ciphertext

    def decrypt(self, ciphertext: Ciphertext) -> np.ndarray:
        """The values."""
        return self.encoding.decode(ciphertext.arrays[0], summands=ciphertext.summands)
