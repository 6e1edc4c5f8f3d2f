"""Sums of the parties' vectors, as protocols between them."""

from refimpl.aggregation.interface import Aggregation, Group, roles
from refimpl.aggregation.lattice import Lattice
from refimpl.aggregation.paillier import Paillier
from refimpl.aggregation.plain import Plain
from refimpl.aggregation.secret_sharing import SecretSharing
from refimpl.aggregation.secure_aggregation import SecAggPlus, SecureAggregation
from refimpl.aggregation.threshold_lattice import ThresholdLattice
from refimpl.aggregation.threshold_paillier import ThresholdPaillier

__all__ = [
    "Aggregation",
    "Group",
    "Lattice",
    "Paillier",
    "Plain",
    "SecAggPlus",
    "SecretSharing",
    "SecureAggregation",
    "ThresholdLattice",
    "ThresholdPaillier",
    "roles",
]
