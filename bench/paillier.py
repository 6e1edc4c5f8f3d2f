"""Packed Paillier beside python-paillier (phe 1.5) on the same key.

A sum of 100,000 values takes phe a quarter of an hour, so its row is extrapolated: the medians of
one encryption, one addition and one decryption, each as often as the sum has them. phe is an
optional peer: without it, its rows are left out, and a line says so.
"""

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from bench.harness import Row, compare, installed
from refimpl.arithmetic import randomness
from refimpl.he import integers, noise, paillier, python_paillier, threshold_paillier
from refimpl.he.paillier import PrivateKey, PublicKey

CLIENTS, VALUES, FEW = 10, 10_000, 1_000
# How often phe does each: every value of every client is encrypted, all but one are added.
OPERATIONS = {
    "phe, one encryption": CLIENTS * VALUES,
    "phe, one addition": (CLIENTS - 1) * VALUES,
    "phe, one decryption": VALUES,
}
PHE_NOTE = (
    "phe: any value to 1e-5, one a ciphertext, 512 B a value; refimpl: values in [-1, 1] in "
    "16 bits, 256 summands, 85 a ciphertext; set-up (keys, table) apart; refimpl decrypts on all "
    "processors, all else is one thread"
)


def run() -> list[list[Row]]:
    """The rows of each comparison."""
    return [sums(), parts(2048), parts(3072), set_up(), without_gmpy2(), threshold()]


def sums() -> list[Row]:
    """The whole sum; the bars are 900 (default noise) and 500 (full noise) times phe's speed."""
    public, private = paillier.generate_keypair()
    vectors = _vectors(CLIENTS, VALUES)
    keys = {"default noise": public, "full noise": _with_noise(public, "full")}
    functions: dict[str, Callable[[], Any]] = {
        f"refimpl, {name}": partial(sum_once, key, PrivateKey(key, private.p, private.q), vectors)
        for name, key in keys.items()
    }
    size = len(public.encrypt(vectors[0]).to_bytes()) / VALUES
    rows = compare(
        functions | _phe(private),
        work=f"Paillier 2048: sum of {CLIENTS} vectors of {VALUES:,}, {size:.2f} B/value",
        note=PHE_NOTE,
    )
    return rows + extrapolated(rows)


def sum_once(public: PublicKey, private: PrivateKey, vectors: np.ndarray) -> np.ndarray:
    """All clients' encryptions, the server's sum and the decryption."""
    return private.decrypt(public.add(*[public.encrypt(vector) for vector in vectors]))


def extrapolated(rows: list[Row]) -> list[Row]:
    """phe's row, from those of its operations; none where phe took no part."""
    found = {row["name"]: row for row in rows}
    if not OPERATIONS.keys() <= found.keys():
        return []
    whole = {
        key: sum(count * found[name][key] for name, count in OPERATIONS.items())
        for key in ("ratio", "seconds")
    }
    row = {**rows[0], **whole, "name": "phe, extrapolated from its operations"}
    print(f"{row['name']}: {row['ratio']:,.0f} times {rows[0]['name']}")
    return [row]


def parts(bits: int) -> list[Row]:
    """Who has which work: one client, the server, the holder of the key."""
    public, private = paillier.generate_keypair(bits)
    vectors = _vectors(CLIENTS, VALUES)
    ciphertexts = [public.encrypt(vector) for vector in vectors]
    total = public.add(*ciphertexts)
    short = _with_noise(public, 320)
    full = _with_noise(public, "full")
    return compare(
        {
            "a client encrypts": lambda: public.encrypt(vectors[0]),
            "a client encrypts, full noise": lambda: full.encrypt(vectors[0]),
            "a client encrypts, 320 bits of noise": lambda: short.encrypt(vectors[0]),
            f"the server adds {CLIENTS}": lambda: public.add(*ciphertexts),
            "the key holder decrypts": lambda: private.decrypt(total),
        },
        work=f"Paillier {bits}: the parts, vectors of {VALUES:,}",
        repeats=5,
        note="320 bits of noise are safe on a further assumption only",
    )


def set_up() -> list[Row]:
    """What comes before the first sum."""
    public, _ = paillier.generate_keypair()

    def table_of(key: PublicKey) -> Callable[[], Any]:
        return lambda: noise.NoiseTable(key.n, key.h, key.noise_bits // 8)

    return compare(
        {
            "table, default noise": table_of(public),
            "table, full noise": table_of(_with_noise(public, "full")),
            "keys": paillier.generate_keypair,
            "threshold keys, 10 parties": lambda: threshold_paillier.deal(10, 7),
        },
        work="Paillier 2048: set-up",
        repeats=9,
        note="how long keys take varies from draw to draw",
    )


def without_gmpy2() -> list[Row]:
    """What gmpy2 is worth: the same work by Python's own integers."""
    vectors = _vectors(CLIENTS, FEW)
    fast, slow = (partial(sum_once, *paillier.generate_keypair(), vectors) for _ in range(2))

    def by_python() -> np.ndarray:
        # Always the same key: what it keeps (its table, say) is in the type that made it.
        gmpy2, integers.gmpy2 = integers.gmpy2, None
        try:
            return slow()
        finally:
            integers.gmpy2 = gmpy2

    work = f"Paillier 2048: sum of {CLIENTS} vectors of {FEW:,}"
    return compare({"with gmpy2": fast, "without": by_python}, work=work, repeats=5)


def threshold() -> list[Row]:
    """Seven of ten parties decrypt a vector."""
    public, shares = threshold_paillier.deal(10, 7)
    ciphertext = public.encrypt(_vectors(1, FEW)[0])
    partials = [share.partial_decrypt(ciphertext) for share in shares[:7]]
    _, private = paillier.generate_keypair()
    plain = private.public.encrypt(_vectors(1, FEW)[0])
    return compare(
        {
            "an undivided key decrypts": lambda: private.decrypt(plain),
            "one party's part": lambda: shares[0].partial_decrypt(ciphertext),
            "seven parts combined": lambda: public.combine(partials),
        },
        work=f"threshold Paillier 2048, 7 of 10: a vector of {FEW:,}",
        repeats=5,
    )


def _with_noise(public: PublicKey, size: noise.Noise) -> PublicKey:
    bits = noise.exponent_bits(size, public.n.bit_length())
    return PublicKey(public.n, public.h, public.encoding, bits)


def _vectors(count: int, length: int) -> np.ndarray:
    return randomness.seeded(1).uniform((count, length)) * 2 - 1


def _phe(private: PrivateKey) -> dict[str, Callable[[], Any]]:
    """phe's operations on single values, with one precision, so that no exponent leaks."""
    if not installed("phe", "1.5"):
        return {}
    assert importlib.import_module("phe.util").HAVE_GMP
    public, own = python_paillier.public_key(private.public), python_paillier.private_key(private)
    a, b = (public.encrypt(value, precision=1e-5) for value in (0.25, -0.75))
    assert abs(own.decrypt(a + b) + 0.5) < 1e-4
    return dict(
        zip(
            OPERATIONS,
            (
                lambda: public.encrypt(0.3, precision=1e-5),
                lambda: a + b,
                lambda: own.decrypt(a),
            ),
            strict=True,
        )
    )
