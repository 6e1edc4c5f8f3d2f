"""Payloads to bytes and back: MessagePack for the structure, raw buffers for numpy arrays.

A payload is built from ``None``, ``bool``, ``int`` of any size, ``float``, ``str``, ``bytes``,
lists, tuples, dictionaries and numeric numpy arrays or scalars. Nothing else is accepted, so
decoding runs no code of the sender's: this is the difference from pickle.

On the wire: 4 bytes with the length of the head, the head (MessagePack, in which an array is
its dtype and shape), then the bytes of the arrays in the order in which the head names them.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import msgpack
import numpy as np

ARRAY, SCALAR, TUPLE, BIG_INT = 1, 2, 3, 4
TUPLE_MARK = msgpack.ExtType(TUPLE, b"")  # a tuple is a map from this to a list, so that
# decoding needs no recursion, which a hostile sender could drive past the end of the stack
HEAD_LENGTH_BYTES = 4
# Booleans, integers, floating and complex numbers in either byte order. No long double: its bytes
# differ between machines.
DTYPES = frozenset(np.dtype(order + code).str for code in "?bhilqBHILQefdFD" for order in "<>")

IMMUTABLE = frozenset({type(None), bool, int, float, str, bytes})  # exactly: no subclasses
_PLAIN = IMMUTABLE | {np.ndarray}


class Encoded(NamedTuple):
    """A payload ready to travel: ``head`` and the ``arrays`` (C-contiguous) that follow it."""

    head: bytes
    arrays: list[np.ndarray]

    @property
    def size(self) -> int:
        """Length in bytes of the encoding."""
        size = HEAD_LENGTH_BYTES + len(self.head)
        return size + sum(array.nbytes for array in self.arrays) if self.arrays else size

    def join(self) -> bytes:
        """The encoding as one string of bytes."""
        length = len(self.head).to_bytes(HEAD_LENGTH_BYTES, "little")
        return b"".join(
            [length, self.head, *(array.reshape(-1).view(np.uint8).data for array in self.arrays)]
        )


def encode(payload: Any) -> Encoded:
    """Encode ``payload`` without copying its arrays (a non-contiguous array is copied).

    Raises ``TypeError``, naming the type, for anything outside the list in the module's text.
    """
    arrays: list[np.ndarray] = []

    def special(item: Any) -> Any:
        if isinstance(item, np.ndarray | np.generic):
            _check_array(item)
            array = np.ascontiguousarray(item).reshape(item.shape)
            arrays.append(array)
            kind = ARRAY if isinstance(item, np.ndarray) else SCALAR
            return msgpack.ExtType(kind, msgpack.packb([array.dtype.str, array.shape]))
        if isinstance(item, tuple):
            return {TUPLE_MARK: list(item)}
        if type(item) is int:  # beyond 64 bits
            length = item.bit_length() // 8 + 1
            return msgpack.ExtType(BIG_INT, item.to_bytes(length, "little", signed=True))
        raise TypeError(
            f"a payload may hold numbers, strings, bytes, lists, tuples, dictionaries and "
            f"numeric arrays, got {type(item).__name__}"
        )

    head = msgpack.packb(payload, default=special, strict_types=True)
    if type(payload) not in _PLAIN:
        _refuse_extensions(payload)
    return Encoded(head, arrays)


def _refuse_extensions(payload: Any) -> None:
    """``TypeError`` for MessagePack's own extensions, which pass it without asking ``special``."""
    stack = [payload]
    while stack:
        item = stack.pop()
        if isinstance(item, msgpack.ExtType | msgpack.Timestamp):
            raise TypeError(f"a payload may not hold an extension, got {type(item).__name__}")
        if isinstance(item, list | tuple):
            stack += [part for part in item if type(part) not in _PLAIN]
        elif isinstance(item, dict):
            stack += [part for part in (*item, *item.values()) if type(part) not in _PLAIN]


def _check_array(item: np.ndarray | np.generic) -> None:
    if item.dtype.str not in DTYPES:
        raise TypeError(
            f"a payload may hold numeric arrays of at most 64 bits (128 if complex), got dtype "
            f"{item.dtype}: convert it to numbers, strings or bytes first"
        )
    if isinstance(item, np.ma.MaskedArray):
        raise TypeError("a payload may not hold a masked array, its mask would be lost: fill it")


def _unpack(head: bytes, take: Callable[[bytes], np.ndarray]) -> Any:
    """Decode ``head``; ``take(dtype and shape)`` supplies its arrays in order."""

    def special(code: int, data: bytes) -> Any:
        if code == ARRAY:
            return take(data)
        if code == SCALAR:
            return take(data)[()]
        if code == TUPLE and not data:
            return TUPLE_MARK
        if code == BIG_INT:
            return int.from_bytes(data, "little", signed=True)
        raise ValueError(f"unknown extension {code}")

    return msgpack.unpackb(head, ext_hook=special, object_hook=_tuple, strict_map_key=False)


def _tuple(map: dict[Any, Any]) -> Any:
    if TUPLE_MARK not in map:
        return map
    ((_, items),) = map.items()
    if type(items) is not list:
        raise ValueError(f"a tuple made of a {type(items).__name__}")
    return tuple(items)


def _locked(array: np.ndarray) -> np.ndarray:
    """A copy that nobody can make writeable again: its buffer says that it is read-only."""
    if not array.size:
        return np.ndarray(array.shape, array.dtype, b"")
    buffer = array.copy().reshape(-1).data.toreadonly()
    return np.frombuffer(buffer, array.dtype).reshape(array.shape)


def copy(encoded: Encoded) -> Encoded:
    """The same with arrays of its own, read-only: what an in-process receiver is handed."""
    if not encoded.arrays:
        return encoded
    return Encoded(encoded.head, [_locked(array) for array in encoded.arrays])


def restore(encoded: Encoded) -> Any:
    """The payload of an ``Encoded``. Its arrays are those of ``encoded``, not copies."""
    arrays = iter(encoded.arrays)
    return _unpack(encoded.head, lambda _: next(arrays))


def decode(data: bytes) -> Any:
    """The payload of ``encode(payload).join()``. Its arrays are read-only: views of ``data``, or
    copies of those that lie unaligned in it.

    Raises ``ValueError`` where ``data`` is not an encoding, is cut short or is too long.
    """
    try:
        position = HEAD_LENGTH_BYTES + int.from_bytes(data[:HEAD_LENGTH_BYTES], "little")
        head = data[HEAD_LENGTH_BYTES:position]

        def take(specification: bytes) -> np.ndarray:
            nonlocal position
            name, shape = msgpack.unpackb(specification)
            if name not in DTYPES or any(length < 0 for length in shape):
                raise ValueError(f"an array of dtype {name} and shape {shape}")
            dtype, count = np.dtype(name), math.prod(shape)
            array = np.frombuffer(data, dtype, count, position)
            if dtype.kind == "b" and array.view(np.uint8).max(initial=0) > 1:
                raise ValueError("a boolean that is neither 0 nor 1")
            position += array.nbytes
            return (array if array.flags.aligned else _locked(array)).reshape(shape)

        payload = _unpack(head, take)
        _refuse_extensions(payload)
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise ValueError(f"not an encoded payload: {error}") from error
    if position != len(data):
        raise ValueError(f"not an encoded payload: {len(data)} bytes, {position} of them used")
    return payload
