"""Learning: data sets and their division, small models, local training, with privacy or without.

Needs torch, and for the data sets scikit-learn. ``task = learning.digits(participants=10)`` is the
usual start; see :mod:`refimpl.learning.data`, :mod:`~refimpl.learning.partition`,
:mod:`~refimpl.learning.models`, :mod:`~refimpl.learning.training`,
:mod:`~refimpl.learning.parameters`.

What ``train(task, privacy=...)`` of a collaboration takes: to protect each record ``RecordDP``
(:mod:`~refimpl.learning.record_privacy`) and ``LocalDP`` (:mod:`~refimpl.learning.local_privacy`),
to protect each participant ``CentralGaussian``, ``DistributedGaussian`` and ``LocalGaussian``
(:mod:`~refimpl.learning.privacy`). ``DPSGD`` (:mod:`~refimpl.learning.dp_sgd`) trains one model.
"""

from refimpl.learning import parameters, partition
from refimpl.learning.data import breast_cancer, diabetes, digits, mnist
from refimpl.learning.dp_sgd import DPSGD
from refimpl.learning.local_privacy import LocalDP
from refimpl.learning.model import Model
from refimpl.learning.models import CNN, MLP, cnn, mlp
from refimpl.learning.privacy import CentralGaussian, DistributedGaussian, LocalGaussian
from refimpl.learning.record_privacy import RecordDP
from refimpl.learning.streams import generator
from refimpl.learning.task import Examples, Task
from refimpl.learning.training import Gradient, LocalTraining, batches, gradient, sgd

__all__ = [
    "CNN",
    "DPSGD",
    "MLP",
    "CentralGaussian",
    "DistributedGaussian",
    "Examples",
    "Gradient",
    "LocalDP",
    "LocalGaussian",
    "LocalTraining",
    "Model",
    "RecordDP",
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
