"""Where and with how many threads torch computes."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

SMALL = 20_000_000  # multiplications in one pass; below, a second thread costs more than it gives


def check_device(device: str) -> None:
    """Raise a ValueError unless torch can compute on ``device`` here and now."""
    if device == "cpu":
        return
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as reason:
        cause = str(reason).splitlines()[0]
        raise ValueError(
            f"device must be one that torch can use on this machine, got {device!r} ({cause}); "
            f"use device='cpu'"
        ) from reason


@contextmanager
def threads_for(multiplications: int) -> Iterator[None]:
    """One thread inside the block if a pass is small, else as many as the user has set.

    The user's setting is put back at the end. With one thread the order of each sum is fixed, so
    small models train to the same bits whatever that setting is.
    """
    before = torch.get_num_threads()
    if multiplications < SMALL:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
