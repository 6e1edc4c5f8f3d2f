"""Attacks: from what an adversary sees to a measured leak.

- ``auditing``: how much DP-SGD, right or with planted faults, tells of a canary
"""

from refimpl.attacks import auditing

__all__ = ["auditing"]
