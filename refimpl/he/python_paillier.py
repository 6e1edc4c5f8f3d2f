"""Our Paillier keys as those of python-paillier (``phe``), and what its floats give away.

Ciphertexts are the same in both: what ``to_integers`` of our key gives, ``raw_decrypt`` of theirs
reads, and ``from_integers`` takes what their ``raw_encrypt`` made. phe is an optional package,
needed for nothing else here.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from refimpl.he.paillier import PrivateKey, PublicKey


def public_key(public: PublicKey) -> Any:
    """The ``phe.PaillierPublicKey`` of the same n."""
    return _phe().PaillierPublicKey(public.n)


def private_key(private: PrivateKey) -> Any:
    """The ``phe.PaillierPrivateKey`` of the same primes. ``paillier.keypair_of`` goes back."""
    return _phe().PaillierPrivateKey(public_key(private.public), private.p, private.q)


def exponents(values: Sequence[float]) -> list[int]:
    """What phe sends in clear beside each encrypted float: the exponent, to base 16.

    It tells whoever sees the ciphertext how large the value is: 0.5 gives -14, 1e-9 gives -21.
    (phe's documentation says so, and offers a fixed ``precision``.) The encoding of this package
    has one scale for all values, agreed on beforehand.
    """
    key = _phe().PaillierPublicKey(2**127 - 1)  # the exponent does not depend on the key
    return [_phe().EncodedNumber.encode(key, float(value)).exponent for value in values]


def _phe() -> Any:
    return import_module("phe")
