"""Who trains, who sends what to whom: direct, indirect and peer-to-peer collaboration.

``direct.train``, ``indirect.train`` and ``peer_to_peer.train`` each return one ``Run``.
"""

from refimpl.collaboration.all_reduce import RingAllReduce
from refimpl.collaboration.asynchronous import AsynchronousSGD
from refimpl.collaboration.brain_torrent import BrainTorrent
from refimpl.collaboration.direct import Central
from refimpl.collaboration.encrypted_sgd import EncryptedSGD
from refimpl.collaboration.encrypted_statistics import EncryptedStatistics
from refimpl.collaboration.indirect import FedAvg, FedSGD
from refimpl.collaboration.peer_to_peer import Gossip
from refimpl.collaboration.private_logistic import PrivateLogisticRegression
from refimpl.collaboration.run import Run
from refimpl.collaboration.selective import SelectiveSGD
from refimpl.collaboration.two_servers import TwoServers
from refimpl.collaboration.weight_transmission import WeightTransmission

__all__ = [
    "AsynchronousSGD",
    "BrainTorrent",
    "Central",
    "EncryptedSGD",
    "EncryptedStatistics",
    "FedAvg",
    "FedSGD",
    "Gossip",
    "PrivateLogisticRegression",
    "RingAllReduce",
    "Run",
    "SelectiveSGD",
    "TwoServers",
    "WeightTransmission",
]
