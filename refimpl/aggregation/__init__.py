"""Sums of the parties' vectors, as protocols between them."""

from refimpl.aggregation.interface import Aggregation, Group, roles
from refimpl.aggregation.plain import Plain
from refimpl.aggregation.secret_sharing import SecretSharing
from refimpl.aggregation.secure_aggregation import SecAggPlus, SecureAggregation

__all__ = [
    "Aggregation",
    "Group",
    "Plain",
    "SecAggPlus",
    "SecretSharing",
    "SecureAggregation",
    "roles",
]
