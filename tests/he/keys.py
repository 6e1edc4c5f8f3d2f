"""Keys that the tests share. The safe primes are test vectors: published here, they protect nobody.

They were drawn once by ``integers.safe_prime`` from a secure generator.
"""

from functools import cache

from refimpl.arithmetic.fixed_point import FixedPoint
from refimpl.he import paillier, threshold_paillier

SAFE_PRIMES_OF_1024_BITS = (
    int(
        "fb3156e0069c5c349d860108b5662186aeaf780f70df54334a2ac6939305ecc9eb647b20343c9d7374f5db55"
        "f260ee6583d8087769ab3bf67f7e04e90493d71d4c79ea9726d79f28d83ac8858a74d5bf23acd46bae8dcb63"
        "ee073c090eb257c618efcd45770eb137face011d2ad25d5afa5373f017d17a838c136e5512f28e67",
        16,
    ),
    int(
        "cffcfc473f31024df72eacbce1ebb2effc56dfa58d997463e92f0ced6119d40ff1d8de5c7ebdfc98d4dc8905"
        "c1e5a7cecf266279401ecb2a7c2aa13e6d1ce98a1432f48717ac7ef444495294e72c96e7c430a533a51b2e42"
        "b852b64a16996d5adf8f5a32bd96426d523f5735c274ea11087094ff4bd383782703736899a9c6ab",
        16,
    ),
)
SAFE_PRIMES_OF_64_BITS = (0xF0C0EA6EC5986CBF, 0xEA6BA5867668D543)


@cache
def pair(bits=2048, noise="half"):
    """A pair of the default encoding, drawn once."""
    return paillier.generate_keypair(bits, noise=noise)


@cache
def short_pair(bits=128, encoding=None):
    return paillier.generate_teaching_keypair(bits, encoding)


def dealt(parties, threshold, primes=SAFE_PRIMES_OF_64_BITS, **options):
    """A dealing of short safe primes: 127 bits of plaintext, 10 slots of 12 bits."""
    options = {"encoding": FixedPoint(1.0, 8, 16), "teaching": True} | options
    return threshold_paillier.deal_from_primes(*primes, parties, threshold, **options)
