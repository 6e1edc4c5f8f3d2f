"""Privacy of each record while models travel: DP-SGD wherever a party trains on its own examples.

A method of collaboration says how to train (learning rate, passes, size of a batch), ``RecordDP``
makes DP-SGD of it (see ``dp_sgd``). On n examples, in batches of size B (all n where B is larger):

    sample rate  B / n,    steps in a round  passes · ⌈n / B⌉,    divisor  B,

as many steps as there are batches without privacy. What leaves the party is then private for each
of its records, whoever receives it and whatever was sent to the party before.

Public: how many examples each party holds. It sets rates and steps, and weighs in the average.
Neighbours: a record is there, or its gradient is zero wherever it is drawn; n stays. (The account
is that of a record added or removed at a fixed rate.)
Adversary: everybody else together, the server too, over all rounds; they may send the party any
model. In the direct approach the server trains, so it is trusted and all others are the adversary.

Not covered: how measurements were scaled (see ``data``), and settings that were tried on the data.

Source: the account of one party is that of Abadi et al., CCS 2016, over its steps in all rounds. A
record lies with one party, so parties compose in parallel (McSherry, SIGMOD 2009): the epsilon of
a run is the largest of any party's, that of the highest rate where all make the same passes.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from refimpl.arithmetic.checks import whole
from refimpl.arithmetic.randomness import CryptoGenerator
from refimpl.learning.dp_sgd import DPSGD
from refimpl.learning.noise import noise_of


@dataclass(frozen=True, kw_only=True)
class RecordDP:
    """Clip each example's gradient, add noise to each step: see the module.

    ``noise_multiplier`` 0 adds no noise, for comparisons. ``seed`` gives batches and noise that
    repeat themselves, for teaching and tests; IT PROTECTS NOBODY. Raises ValueError for numbers out
    of range.
    """

    clipping_norm: float = 1.0
    noise_multiplier: float = 1.0
    seed: int | None = None

    def __post_init__(self) -> None:
        DPSGD(clipping_norm=self.clipping_norm, noise_multiplier=self.noise_multiplier)

    def generator(self, party: str) -> CryptoGenerator:
        """Where batches and noise of one party come from; no two share one."""
        return noise_of(party, self.seed)

    def sgd(
        self, examples: int, *, learning_rate: float, batch_size: int | None, epochs: int | None
    ) -> DPSGD:
        """DP-SGD of one party for one round; ``epochs=None`` makes a single step."""
        whole("examples", examples, 1)
        size = examples if batch_size is None else min(batch_size, examples)
        return DPSGD(
            learning_rate=learning_rate,
            clipping_norm=self.clipping_norm,
            noise_multiplier=self.noise_multiplier,
            sample_rate=size / examples,
            steps=1 if epochs is None else epochs * math.ceil(examples / size),
            expected_size=size,
        )

    def epsilon(self, delta: float, *, parties: Iterable[DPSGD], rounds: int) -> float:
        """Of the records of the party that it protects least, over all rounds, at this delta.

        ``parties``: what each of them does in a round.
        """
        whole("rounds", rounds, 1)
        different = {(own.sample_rate, own.steps): own for own in parties}
        return max(
            replace(own, steps=own.steps * rounds).epsilon(delta) for own in different.values()
        )
