"""A small task with participants of unequal size, and what methods must come to, in plain loops."""

import msgpack
import numpy as np
import torch

from refimpl import learning
from refimpl.learning import Examples, Task, sgd


def toy(sizes=(5, 9, 14), *, kind="mlp", seed=0):
    """Participants "a", "b", "c", … with as many examples as ``sizes``, each of its own kind."""
    rng = np.random.default_rng(1000 + seed)
    model = {
        "mlp": learning.mlp(6, 5, 3),
        "cnn": learning.cnn((1, 2, 3), (2,), 3),
        "regression": learning.mlp(6, 4, 1, objective="squared error"),
    }[kind]
    truth = rng.normal(size=(6, 3))

    def draw(n, shift):
        x = rng.normal(shift, 1.0, (n, 6)).astype(np.float32)
        scores = x @ truth
        return Examples(x, scores[:, 0] / 3 if kind == "regression" else scores.argmax(axis=1))

    names = [chr(ord("a") + k) for k in range(len(sizes))]
    data = {name: draw(n, 0.5 * k) for k, (name, n) in enumerate(zip(names, sizes, strict=True))}
    return Task("toy", model, tuple(names), data, draw(30, 0.0), seed)


def close(found, expected):
    """Equal to float tolerance: 1e-5, a hundred roundings of a float32."""
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def train_locally(task, method, name, parameters, rng):
    """What participant ``name`` makes of ``parameters``; draws from ``rng``."""
    return sgd(
        task.model,
        parameters,
        task.data[name],
        learning_rate=method.learning_rate,
        epochs=method.epochs,
        batch_size=method.batch_size,
        rng=rng,
    )


def generators(task, seed=0):
    """The stream of local training of each participant, from its start."""
    return {name: task.generator("local training", name, seed) for name in task.participants}


def federated_averaging(task, method, rounds, *, seed=0, survivors=lambda round: None):
    """FedAvg in a plain loop: Σ n_k w_k / Σ n_k over ``survivors(round)``, everybody if None."""
    streams, parameters = generators(task, seed), task.initial_parameters()
    for round in range(rounds):
        local = {
            name: train_locally(task, method, name, parameters, streams[name])
            for name in task.participants
        }
        who = survivors(round) or task.participants
        counts = np.array([len(task.data[name].y) for name in who], np.float64)
        stacked = np.array([local[name] for name in who], np.float64)
        parameters = (counts @ stacked / counts.sum()).astype(np.float32)
    return parameters


def sequential(task, method, rounds, *, seed=0):
    """One weight vector, trained by each participant in a row, ``rounds`` times."""
    streams, parameters = generators(task, seed), task.initial_parameters()
    for _ in range(rounds):
        for name in task.participants:
            parameters = train_locally(task, method, name, parameters, streams[name])
    return parameters


def mlp_gradient(parameters, widths, x, y):
    """∇ of the mean cross-entropy of a one-hidden-layer ReLU network, by torch's autograd alone."""
    inputs, hidden, outputs = widths
    flat = torch.tensor(parameters, requires_grad=True)
    w1, b1, w2, b2 = flat.split([hidden * inputs, hidden, outputs * hidden, outputs])
    h = torch.relu(torch.tensor(x) @ w1.view(hidden, inputs).T + b1)
    scores = h @ w2.view(outputs, hidden).T + b2
    torch.nn.functional.cross_entropy(scores, torch.tensor(y)).backward()
    return flat.grad.numpy()


def frame_bytes(topic, round, number, payload_bytes):
    """Bytes on the wire: two 8-byte lengths, the envelope, the payload and a 16-byte tag."""
    return 8 + 8 + len(msgpack.packb([topic, round, number])) + payload_bytes + 16


def vector_bytes(length, dtype="<f4"):
    """Bytes of an encoded vector: 4 for the head's length, its head, then the numbers."""
    head = msgpack.packb(msgpack.ExtType(1, msgpack.packb([dtype, [length]])))
    return 4 + len(head) + np.dtype(dtype).itemsize * length
