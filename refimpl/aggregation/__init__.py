"""Sums of the parties' vectors, as protocols between them."""

from refimpl.aggregation.interface import Aggregation, Group
from refimpl.aggregation.plain import Plain

__all__ = ["Aggregation", "Group", "Plain"]
