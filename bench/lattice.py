"""Lattice encryption beside TenSEAL: a million values, sums only.

TenSEAL 0.3.18 is an optional peer: without it, its rows are left out, and a line says so.
"""

import importlib
import operator
import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from bench.harness import Row, compare, installed
from refimpl.arithmetic.fixed_point import FixedPoint
from refimpl.he import lwe, rlwe, threshold_rlwe
from refimpl.he.threshold_parameters import Parameters

VALUES, CLIENTS, PARTIES = 1_000_000, 100, 10
MILLION = f"{VALUES:,} values"
CODE = FixedPoint(1.0, 16, 256)
_VECTOR = np.random.default_rng(0).uniform(-1, 1, VALUES)
# Degree, plain modulus (a prime above 256 sums of 16 bits, and 1 modulo 8192), moduli in bits; and
# degree, moduli in bits, scale in bits.
_BFV = {"4096": (4096, 16_801_793, [54, 55])}
_CKKS = {"8192, tutorial": (8192, [60, 40, 40, 60], 40), "4096": (4096, [60, 49], 40)}

UNLIKE = (
    "refimpl holds 16-bit fixed-point values and adds, exactly; CKKS approximates to about 2^-20 "
    "and more, BFV is exact with the same 16 bits, and both can multiply"
)

Encrypt = Callable[[], Any]


def run() -> list[list[Row]]:
    """The rows of each comparison."""
    return [encryption(), decryption(), addition(), many_clients(), threshold(), without_a_ring()]


def encryption() -> list[Row]:
    """The bars are 25 times TenSEAL's CKKS (its tutorial's settings) and 10 times its BFV."""
    functions, sizes = _encryptions()
    note = f"{UNLIKE}; {_sizes(sizes)}"
    return compare(functions, work=f"encryption, {MILLION}", repeats=5, note=note)


def decryption() -> list[Row]:
    """The bar is 6 times TenSEAL."""
    public, private = rlwe.generate_keypair(encoding=CODE)
    c, s = public.encrypt(_VECTOR), private.encrypt(_VECTOR)
    functions: dict[str, Encrypt] = {
        "refimpl rlwe, public form": lambda: private.decrypt(c),
        "refimpl rlwe, seeded form": lambda: private.decrypt(s),
    }
    for name, (encrypt, parts) in _tenseal().items():
        functions[name] = _each([encrypt(part).decrypt for part in parts])
    return compare(functions, work=f"decryption, {MILLION}", repeats=5, note=UNLIKE)


def addition() -> list[Row]:
    """Two ciphertexts."""
    public, private = rlwe.generate_keypair(encoding=CODE)
    c, d = public.encrypt(_VECTOR), public.encrypt(_VECTOR)
    s, t = private.encrypt(_VECTOR), private.encrypt(_VECTOR)
    functions: dict[str, Encrypt] = {
        "refimpl rlwe, public form": lambda: public.add(c, d),
        "refimpl rlwe, seeded form": lambda: public.add(s, t),
    }
    for name, (encrypt, parts) in _tenseal().items():
        ciphertexts = [encrypt(part) for part in parts]
        functions[name] = _each([partial(operator.add, c, c) for c in ciphertexts])
    return compare(functions, work=f"addition, {MILLION}", repeats=5, note=UNLIKE)


def many_clients() -> list[Row]:
    """100 clients with a million parameters each: a client's work, the server's, the decryption."""
    public, private = rlwe.generate_keypair(encoding=CODE)
    sent = [public.encrypt(_VECTOR).to_bytes() for _ in range(CLIENTS)]

    def add_all() -> Any:
        total = public.from_bytes(sent[0])
        for data in sent[1:]:
            total = public.add(total, public.from_bytes(data))
        return total

    total = add_all()
    return compare(
        {
            "a client encrypts and packs": lambda: public.encrypt(_VECTOR).to_bytes(),
            f"the server reads and adds {CLIENTS}": add_all,
            "the key holder decrypts the sum": lambda: private.decrypt(total),
        },
        work=f"{CLIENTS} clients with {VALUES:,} parameters each, rlwe in public form",
        repeats=5,
        note=f"the server holds {sum(map(len, sent)) / 1e9:.2f} GB of ciphertexts here; it may add "
        "them one by one and hold two",
    )


def threshold() -> list[Row]:
    """Keys that no one holds, beside one key holder."""
    agreed = Parameters(PARTIES, os.urandom(16), CODE)
    drawn = [threshold_rlwe.generate_share(agreed, party) for party in range(1, PARTIES + 1)]
    public = threshold_rlwe.combine_keys(agreed, [b for b, _ in drawn])
    one, _ = rlwe.generate_keypair(encoding=CODE)
    c = public.encrypt(_VECTOR)
    parts = [share.partial_decrypt(public, c) for _, share in drawn]

    def part() -> Any:
        _, share = drawn[1]
        fresh = threshold_rlwe.KeyShare(agreed, share.party, share.secret)  # refuses nothing yet
        return fresh.partial_decrypt(public, c)

    return compare(
        {
            "rlwe: encrypt": lambda: one.encrypt(_VECTOR),
            "encrypt": lambda: public.encrypt(_VECTOR),
            "add two": lambda: public.add(c, c),
            "one party's part": part,
            f"combine {PARTIES} parts": lambda: public.combine(parts),
        },
        work=f"threshold rlwe, {PARTIES} parties, {MILLION}",
        repeats=5,
        note=f"q = 2^{agreed.modulus_bits}; {c.nbytes / VALUES:.1f} bytes a value, and "
        f"{parts[0].nbytes / VALUES:.1f} for a part",
    )


def without_a_ring() -> list[Row]:
    """What the ring saves."""
    ring, ring_private = rlwe.generate_keypair(encoding=CODE)
    plain, plain_private = lwe.generate_keypair(encoding=CODE)
    vector = _VECTOR[:10_000]
    c, d = ring.encrypt(vector), plain.encrypt(vector)
    return compare(
        {
            "rlwe encrypt": lambda: ring.encrypt(vector),
            "rlwe decrypt": lambda: ring_private.decrypt(c),
            "lwe encrypt": lambda: plain.encrypt(vector),
            "lwe decrypt": lambda: plain_private.decrypt(d),
        },
        work="LWE and RLWE, 10,000 values",
        repeats=5,
        note=f"bytes a value: rlwe {c.nbytes / 1e4:.1f}, lwe {d.nbytes / 1e4:.1f} with l = "
        f"{lwe.COLUMNS} columns",
    )


def _encryptions() -> tuple[dict[str, Encrypt], dict[str, float]]:
    """Functions that encrypt the million values, and bytes a value of what they give."""
    public, private = rlwe.generate_keypair(encoding=CODE)
    functions: dict[str, Encrypt] = {
        "refimpl rlwe, public form": lambda: public.encrypt(_VECTOR),
        "refimpl rlwe, seeded form": lambda: private.encrypt(_VECTOR),
    }
    sizes = {name: len(work().to_bytes()) / VALUES for name, work in functions.items()}
    for name, (encrypt, parts) in _tenseal().items():
        functions[name] = _each([partial(encrypt, part) for part in parts])
        sizes[name] = len(encrypt(parts[0]).serialize()) / len(parts[0])
    return functions, sizes


def _tenseal() -> dict[str, tuple[Callable[[list], Any], list[list]]]:
    """{name: (function that encrypts one list, the million values cut for it)}."""
    if not installed("tenseal", "0.3.18"):
        return {}
    ts = importlib.import_module("tenseal")
    found: dict[str, tuple[Callable[[list], Any], list[list]]] = {}
    for name, (degree, moduli, scale) in _CKKS.items():
        context = ts.context(ts.SCHEME_TYPE.CKKS, degree, coeff_mod_bit_sizes=moduli)
        context.global_scale = 2**scale
        found[f"TenSEAL CKKS, N={name}"] = (
            partial(ts.ckks_vector, context),
            _cut(_VECTOR, degree // 2),
        )
    integers = np.rint(_VECTOR * CODE.scale).astype(int)
    for name, (degree, plain, moduli) in _BFV.items():
        context = ts.context(
            ts.SCHEME_TYPE.BFV, degree, plain_modulus=plain, coeff_mod_bit_sizes=moduli
        )
        found[f"TenSEAL BFV, N={name}"] = partial(ts.bfv_vector, context), _cut(integers, degree)
    return found


def _cut(values: np.ndarray, size: int) -> list[list]:
    return [values[start : start + size].tolist() for start in range(0, values.size, size)]


def _each(calls: list[Callable[[], Any]]) -> Encrypt:
    return lambda: [call() for call in calls]


def _sizes(sizes: Mapping[str, float]) -> str:
    return "bytes a value: " + ", ".join(f"{name} {size:.2f}" for name, size in sizes.items())
