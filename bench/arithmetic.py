"""The arithmetic floor against the machine's limits and the plain ways to do the same."""

import os
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from bench.harness import compare
from refimpl.arithmetic import field, randomness, ring
from refimpl.arithmetic.fixed_point import FixedPoint

SIZE = 1 << 20


def run() -> list[list[dict[str, Any]]]:
    """All comparisons of this floor, one list of rows each."""
    return [
        random_words(),
        field_elements(),
        products(),
        sums(),
        linear_combinations(),
        encodings(),
        *(packing(bits) for bits in (16, 20, 61)),
    ]


def random_words() -> list[dict[str, Any]]:
    """8 MiB of random words into an array that exists."""
    rng, out = randomness.seeded(0), np.empty(SIZE, np.uint64)
    encryptor = Cipher(algorithms.AES(bytes(16)), modes.CTR(bytes(16))).encryptor()
    zeros, buffer = bytes(1 << 17), bytearray(1 << 17)
    pcg = np.random.Generator(np.random.PCG64(0))
    sfc = np.random.Generator(np.random.SFC64(0))

    def raw_aes() -> None:
        for _ in range(out.nbytes // len(zeros)):
            encryptor.update_into(zeros, buffer)

    return compare(
        {
            "refimpl uint64(out=)": lambda: rng.uint64(out=out),
            "refimpl uint64(shape)": lambda: rng.uint64(SIZE),
            "raw AES-128-CTR": raw_aes,
            "numpy SFC64": lambda: sfc.integers(0, 2**64, SIZE, dtype=np.uint64),
            "numpy PCG64": lambda: pcg.integers(0, 2**64, SIZE, dtype=np.uint64),
            "os.urandom": lambda: os.urandom(out.nbytes),
        },
        work="2^20 random 64-bit words",
        note="raw AES overwrites one 128 KiB buffer; numpy's generators are not cryptographic",
    )


def field_elements() -> list[dict[str, Any]]:
    """Uniform elements below a bound that is not a power of two."""
    rng, pcg = randomness.seeded(0), np.random.default_rng(0)
    return compare(
        {
            "refimpl": lambda: rng.below(field.P, SIZE),
            "numpy PCG64": lambda: pcg.integers(0, field.P, SIZE, dtype=np.uint64),
        },
        work="2^20 uniform elements of F_(2^61-1)",
        note="numpy's generator is not cryptographic",
    )


def products() -> list[dict[str, Any]]:
    """Products in the field, whole arrays against Python integers."""
    a, b = randomness.seeded(0).below(field.P, (2, SIZE))
    out = np.empty_like(a)
    c, d = a.astype(object), b.astype(object)
    return compare(
        {
            "refimpl out=": lambda: field.multiply(a, b, out=out),
            "refimpl": lambda: field.multiply(a, b),
            "numpy product modulo 2^64": lambda: np.multiply(a, b, out=out),
            "numpy array of Python integers": lambda: c * d % field.P,
        },
        work="2^20 products in F_(2^61-1)",
        note="the product modulo 2^64 is the memory's limit, not the same result",
    )


def sums() -> list[dict[str, Any]]:
    """Sums in the field."""
    a, b = randomness.seeded(0).below(field.P, (2, SIZE))
    out = np.empty_like(a)
    return compare(
        {
            "refimpl out=": lambda: field.add(a, b, out=out),
            "numpy, with remainder": lambda: (a + b) % np.uint64(field.P),
            "numpy sum modulo 2^64": lambda: np.add(a, b, out=out),
        },
        work="2^20 sums in F_(2^61-1)",
        note="the sum modulo 2^64 is the memory's limit, not the same result",
    )


def linear_combinations() -> list[dict[str, Any]]:
    """What any three Shamir shares need for reconstruction."""
    rows = randomness.seeded(0).below(field.P, (3, SIZE))
    objects = rows.astype(object)
    weights = [5, field.P - 7, 2**60 + 11]
    return compare(
        {
            "refimpl": lambda: field.linear_combination(weights, rows),
            "numpy array of Python integers": lambda: np.dot(weights, objects) % field.P,
        },
        work="linear combination of 3 rows of 2^20 elements of F_(2^61-1)",
    )


def encodings() -> list[dict[str, Any]]:
    """Fixed point, with its checks, against the bare formula."""
    values = (2 * randomness.seeded(0).uniform(SIZE) - 1).astype(np.float32)
    code = FixedPoint()
    encoded = code.encode(values)
    return compare(
        {
            "refimpl encode": lambda: code.encode(values),
            "bare formula": lambda: (np.rint(values * 32767.0) + 32767).astype(np.uint64),
            "refimpl decode": lambda: code.decode(encoded, summands=1),
        },
        work="2^20 values in fixed point, 16 bits",
        note="the bare formula checks nothing, and rounds in single precision",
    )


def packing(bits: int) -> list[dict[str, Any]]:
    """Dense packing against numpy's packing of single bits."""
    values = randomness.seeded(0).bits(bits, SIZE)
    packed = ring.pack(values, bits)
    positions = np.arange(bits, dtype=np.uint64)

    def bit_by_bit() -> object:
        each = (values[:, None] >> positions & np.uint64(1)).astype(np.uint8)
        return np.packbits(each, bitorder="little")

    return compare(
        {
            "refimpl pack": lambda: ring.pack(values, bits),
            "refimpl unpack": lambda: ring.unpack(packed, bits, SIZE),
            "numpy packbits": bit_by_bit,
            "copy": lambda: values.copy(),
        },
        work=f"2^20 elements of {bits} bits, packed",
        note="the copy is the memory's limit, not the same result",
    )
