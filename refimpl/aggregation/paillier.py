"""A sum under Paillier encryption, whose key the contributors share and the server lacks.

Packed, with 16-bit values for up to 16 contributors: 102 values in 512 bytes, 5 bytes a value.
Roles, adversary and leaks: ``single_key``. Assumption: decisional composite residuosity, and
factoring; a quantum computer that factors reads all that was recorded. See ``refimpl.he.paillier``.
"""

from dataclasses import dataclass, field

from refimpl.aggregation.single_key import SingleKey
from refimpl.arithmetic.fixed_point import FixedPoint
from refimpl.arithmetic.randomness import CryptoGenerator
from refimpl.he import paillier
from refimpl.he.noise import Noise


@dataclass(frozen=True, kw_only=True)
class Paillier(SingleKey):
    """``key_bits``: of the modulus, 2048 or more. ``noise``: see ``paillier.generate_keypair``.

    ``bound``, ``bits``: of one value; one over the bound is an error, never clipped. ``primes``: p
    and q of a key that was drawn before (``key_bits`` is then theirs); they are secret.

    Adversary: an honest-but-curious server that works with no participant. With any one
    participant it reads every contribution.
    """

    key_bits: int = paillier.LEAST_BITS
    noise: Noise = "half"
    primes: tuple[int, int] | None = field(default=None, repr=False)

    def keypair(
        self, encoding: FixedPoint, rng: CryptoGenerator
    ) -> tuple[paillier.PublicKey, paillier.PrivateKey]:
        """(public, private), drawn by the key holder."""
        if self.primes is not None:
            return paillier.keypair_of(*self.primes, encoding, noise=self.noise, rng=rng)
        return paillier.generate_keypair(self.key_bits, encoding, noise=self.noise, rng=rng)
