"""Learning: data sets and their division, small models, local training.

Needs torch, and for the data sets scikit-learn. ``task = learning.digits(participants=10)`` is the
usual start; see :mod:`refimpl.learning.data`, :mod:`~refimpl.learning.partition`,
:mod:`~refimpl.learning.models`, :mod:`~refimpl.learning.training`,
:mod:`~refimpl.learning.parameters`.
"""

from refimpl.learning import parameters, partition
from refimpl.learning.data import breast_cancer, diabetes, digits, mnist
from refimpl.learning.model import Model
from refimpl.learning.models import CNN, MLP, cnn, mlp
from refimpl.learning.streams import generator
from refimpl.learning.task import Examples, Task
from refimpl.learning.training import Gradient, LocalTraining, batches, gradient, sgd

__all__ = [
    "CNN",
    "MLP",
    "Examples",
    "Gradient",
    "LocalTraining",
    "Model",
    "Task",
    "batches",
    "breast_cancer",
    "cnn",
    "diabetes",
    "digits",
    "generator",
    "gradient",
    "mlp",
    "mnist",
    "parameters",
    "partition",
    "sgd",
]
