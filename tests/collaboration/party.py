"""One party of federated averaging in a process of its own: ``party.py FOLDER NAME``."""

import sys
from pathlib import Path

from refimpl.aggregation import Plain
from refimpl.collaboration import FedAvg
from refimpl.collaboration.run import Setting
from refimpl.network import channel, codec, torch_distributed
from tests.collaboration.oracles import toy

PARTIES = ("a", "b", "server")
METHOD, ROUNDS, SEED = FedAvg(epochs=2, batch_size=4), 3, 5


def task():
    """Two participants of unequal size."""
    return toy((6, 9))


def main(folder, name):
    """Run ``name``'s role; leave its result, and the address and bytes of each message it saw."""
    setting = Setting(
        task=task(),
        rounds=ROUNDS,
        seed=SEED,
        aggregation=Plain(),
        at_least=None,
        report=lambda round, parameters: None,
        credentials=Plain().setup(PARTIES),
    )
    outcome = torch_distributed.run(
        METHOD.server_roles(setting)[name],
        name=name,
        parties=PARTIES,
        private_key=(folder / f"{name}.key").read_bytes(),
        directory={party: (folder / f"{party}.pub").read_bytes() for party in PARTIES},
        init_method=f"file://{folder / 'rendezvous'}",
        deadline=100.0,
    )
    seen = [[*message[:4], message.bytes] for message in outcome.transcript]
    payload = {"result": outcome.results[name], "seen": seen}
    (folder / f"{name}.out").write_bytes(codec.encode(payload).join())


def write_identities(folder):
    """A key pair for each party."""
    for name in PARTIES:
        private, public = channel.generate_identity()
        (folder / f"{name}.key").write_bytes(private)
        (folder / f"{name}.pub").write_bytes(public)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
