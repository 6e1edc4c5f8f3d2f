"""A sum under ring learning with errors, whose key the contributors share and the server lacks.

Contributors hold the private key, so they encrypt in the seeded form: 4 bytes a value, in blocks of
4096 coefficients (two 16-bit values each). ``seeded=False`` takes the public-key form, twice as
large: what a contributor without the private key would send.
Roles, adversary and leaks: ``single_key``. Assumption: decision RLWE, which no known quantum
algorithm breaks. See ``refimpl.he.rlwe``.
"""

from dataclasses import dataclass

import numpy as np

from refimpl.aggregation.encrypted import Credentials
from refimpl.aggregation.single_key import SingleKey
from refimpl.arithmetic.fixed_point import FixedPoint
from refimpl.arithmetic.randomness import CryptoGenerator
from refimpl.he import rlwe
from refimpl.he.ciphertext import Ciphertext


@dataclass(frozen=True, kw_only=True)
class Lattice(SingleKey):
    """``seeded``: whether contributors encrypt with the private key, at half the size.

    ``bound``, ``bits``: of one value; one over the bound is an error, never clipped.

    Adversary: an honest-but-curious server that works with no participant. With any one
    participant it reads every contribution.
    """

    seeded: bool = True

    def keypair(
        self, encoding: FixedPoint, rng: CryptoGenerator
    ) -> tuple[rlwe.PublicKey, rlwe.PrivateKey]:
        """(public, private), drawn by the key holder."""
        return rlwe.generate_keypair(encoding=encoding, rng=rng)

    def encrypt(self, vector: np.ndarray, credentials: Credentials) -> Ciphertext:
        """A contributor's ciphertext."""
        key = credentials.secret if self.seeded else credentials.public
        return key.encrypt(vector, credentials.rng)
