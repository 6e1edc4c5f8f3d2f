"""SGD at a server that never decrypts: bit for bit the arithmetic in clear, and what is refused."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from refimpl import network
from refimpl.aggregation import Lattice, Plain
from refimpl.collaboration import AsynchronousSGD, EncryptedSGD, encrypted_sgd, indirect
from refimpl.collaboration.run import Setting
from refimpl.he import lwe, paillier
from refimpl.he.ciphertext import parse
from refimpl.learning import Gradient
from refimpl.network import Fault, MalformedMessage, NetworkError
from tests.collaboration.oracles import generators, toy
from tests.collaboration.test_asynchronous import batches_of
from tests.he.keys import SAFE_PRIMES_OF_1024_BITS as PRIMES

METHOD = EncryptedSGD(learning_rate=0.2, batch_size=3)


def fixed_point_sgd(task, method, rounds, seed=0):
    """In Python's integers: levels of w as a sum of levels, and gradients of weights that old."""
    names, streams = sorted(task.participants), generators(task, seed)
    sizes = {n: min(method.batch_size or 99, len(task.data[n])) for n in names}
    batches = {n: batches_of(task.data[n], sizes[n], streams[n]) for n in names}
    scale = (2 ** (method.bits - 1) - 1) / method.bound

    def levels(values):
        return [round(float(value) * scale) for value in values]

    weights = [levels(task.initial_parameters())]
    for turn in range(rounds * len(names)):
        name = names[turn % len(names)]
        rows, examples = next(batches[name]), task.data[name]
        old = weights[max(0, turn - method.staleness)]
        w = np.array([level / scale for level in old]).astype(np.float32)
        job = Gradient(task.model, w, examples.x[rows], examples.y[rows])
        (gradient,) = Gradient.run_together([job])
        step = levels(-method.learning_rate * gradient)
        weights.append([a + b for a, b in zip(weights[-1], step, strict=True)])
    return [
        np.array([level / scale for level in held]).astype(np.float32)
        for held in weights[:: len(names)][1:]
    ]


@pytest.fixture(autouse=True)
def small_or_known_keys(monkeypatch):
    """Paillier keys of known primes; LWE at the teaching size, which protects nobody."""
    monkeypatch.setattr(paillier, "generate_keypair", partial(paillier.keypair_of, *PRIMES))
    monkeypatch.setattr(lwe, "generate_keypair", partial(lwe.generate_teaching_keypair, 64))


@pytest.mark.parametrize("scheme", ["lattice", "paillier", "lwe", "none"])
@pytest.mark.parametrize("staleness", [0, 2])
def test_it_is_the_arithmetic_in_clear_bit_for_bit(scheme, staleness):
    task = toy()
    method = replace(METHOD, scheme=scheme, staleness=staleness)
    run = indirect.train(task, rounds=3, method=method, seed=4)
    expected = fixed_point_sgd(task, method, 3, seed=4)
    for model in run.models.values():
        assert model.tobytes() == expected[-1].tobytes()
    assert run.accuracy_by_round == tuple(map(task.accuracy, expected))


@pytest.mark.parametrize("sizes", [(5,), (9, 4), (5, 9, 14, 3)])
@pytest.mark.parametrize("batch_size", [None, 4])
def test_other_groups_and_batches(sizes, batch_size):
    task, method = toy(sizes), replace(METHOD, batch_size=batch_size, bits=30)
    run = indirect.train(task, rounds=4, method=method)
    expected = fixed_point_sgd(task, method, 4)
    assert run.parameters.tobytes() == expected[-1].tobytes()
    assert run.accuracy_by_round == tuple(map(task.accuracy, expected))


def test_it_is_asynchronous_sgd_but_for_rounding():
    """Each of 13 summands is off by half a unit, 2^-20, and later gradients by what that does."""
    run = indirect.train(toy(), rounds=4, method=METHOD)
    plain = indirect.train(toy(), rounds=4, method=AsynchronousSGD(learning_rate=0.2, batch_size=3))
    assert 0 < np.abs(run.parameters - plain.parameters).max() < 1e-4


def test_the_server_holds_ciphertexts_and_no_private_key():
    """All that it is handed and all that it sees; with a participant's key it reads each update."""
    task = toy()
    seen = indirect.train(task, rounds=2, method=METHOD).transcript.view("server")
    assert {(m.topic, type(m.payload)) for m in seen} == {("model", bytes), ("update", bytes)}
    numbers = [array.tobytes() for m in seen for array in parse(m.payload).arrays]
    updates = seen.select(topic="update")
    assert len({array for m in updates for array in numbers_of(m)}) == 2 * 6  # all fresh
    assert len(numbers) == 2 * (6 + 6 + 3)
    roles = METHOD.server_roles(setting(task))
    assert "private" not in roles["server"].keywords
    private = roles["a"].keywords["private"]
    update = roles["server"].keywords["public"].encrypt(np.full(53, 0.5))
    np.testing.assert_allclose(private.decrypt(update), 0.5, atol=2**-19)


def numbers_of(message):
    return [array.tobytes() for array in parse(message.payload).arrays]


def setting(task, aggregation=None, at_least=None):
    names = [*task.participants, "server"]
    knows = (dict.fromkeys(names),)
    return Setting(task, 2, 0, aggregation or Plain(), at_least, lambda *_: None, *knows)


def test_the_summands_grow_by_one_each_turn():
    transcript = indirect.train(toy(), rounds=2, method=replace(METHOD, staleness=1)).transcript
    sums = [parse(m.payload).summands for m in transcript.select(topic="model")]
    assert sums == [1, 1, 2, 3, 4, 5, 7, 7, 7]
    assert parse(transcript.messages[0].payload).encoding.summands == 7


# --- faults -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["drop", "delay", "duplicate", "truncate", "tamper"])
def test_every_fault_of_any_message_is_the_same_result_or_an_error_with_the_senders_name(kind):
    calm = indirect.train(toy(), rounds=2, method=METHOD)
    for message in calm.transcript:
        faults = [Fault(kind, message.sender, message.receiver, message.topic, message.round)]
        if kind in ("delay", "duplicate"):
            run = indirect.train(toy(), rounds=2, method=METHOD, faults=faults)
            assert run.parameters.tobytes() == calm.parameters.tobytes()
            continue
        with pytest.raises(NetworkError) as error:
            indirect.train(toy(), rounds=2, method=METHOD, faults=faults)
        assert error.value.parties == (message.sender,)


def lied_to(who, lie):
    """A run in which ``who`` sends ``lie(public, payload)`` in its third message."""
    roles = METHOD.server_roles(setting(toy()))
    honest, public = roles[who], roles[who].keywords["public"]

    class Liar:
        def __init__(self, link, sent):
            self.link, self.name, self.sent = link, link.name, sent
            self.receive, self.compute = link.receive, link.compute

        def in_round(self, round):
            return Liar(self.link.in_round(round), self.sent)

        async def send(self, receiver, topic, payload):
            self.sent.append(payload)
            said = lie(public, payload, self.sent) if len(self.sent) == 2 else payload
            await self.link.send(receiver, topic, said)

        async def broadcast(self, receivers, topic, payload):
            for receiver in receivers:
                await self.send(receiver, topic, payload)

    roles[who] = lambda link: honest(Liar(link, []))
    return network.run(roles)


LIES = {
    "nothing": (lambda public, data, sent: None, "bytes are wanted"),
    "cut": (lambda public, data, sent: data[:-1], "damaged, or cut"),
    "short": (lambda public, data, sent: public.encrypt(np.ones(5)).to_bytes(), "length|weights"),
    "another key": (
        lambda public, data, sent: (
            encrypted_sgd.keypair("lattice", public.encoding)[0].encrypt(np.ones(53)).to_bytes()
        ),
        "another public key",
    ),
}


@pytest.mark.parametrize("who", ["b", "server"])
@pytest.mark.parametrize("lie", LIES)
def test_what_is_no_ciphertext_of_the_run_names_its_sender(who, lie):
    change, text = LIES[lie]
    with pytest.raises(MalformedMessage, match=text) as error:
        lied_to(who, change)
    assert error.value.parties == (who,)


def test_weights_of_an_earlier_turn_are_refused_and_name_the_server():
    with pytest.raises(MalformedMessage, match="53 weights after 1 updates, got 53 after 0"):
        lied_to("server", lambda public, data, sent: sent[0])


def test_an_update_made_of_two_is_refused_and_an_old_one_is_not_detected():
    def doubled(public, data, sent):
        return public.add(public.from_bytes(data), public.encrypt(np.ones(53))).to_bytes()

    with pytest.raises(MalformedMessage, match=r"must send one update .* sum of 2") as error:
        lied_to("b", doubled)
    assert error.value.parties == ("b",)
    lied_to("b", lambda public, data, sent: sent[0])  # its first update again: honest-but-curious


def test_weights_that_cannot_be_decrypted_name_the_server():
    def spoilt(public, data, sent):
        item = parse(data)
        arrays = tuple(array + np.uint64(2**40) for array in item.arrays)
        return replace(item, arrays=arrays).to_bytes()

    with pytest.raises(MalformedMessage, match="cannot be decrypted") as error:
        lied_to("server", spoilt)
    assert error.value.parties == ("server",)


# --- refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scheme": "rot13"}, "scheme must be one of"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1"),
        ({"staleness": -1}, "staleness must be"),
        ({"bound": np.inf}, "bound must be positive and finite"),
        ({"bits": 1}, "bits must be"),
    ],
)
def test_settings_that_cannot_be_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(METHOD, **change)


def test_more_turns_than_the_encoding_can_hold_are_refused_before_anybody_trains(monkeypatch):
    monkeypatch.setattr(Gradient, "run_together", lambda jobs: pytest.fail("one trained"))
    many = replace(METHOD, bits=48)
    with pytest.raises(ValueError, match="sum_bits must be at most 60"):
        indirect.train(toy(), rounds=2000, method=many)
    with pytest.raises(ValueError, match="leave no room for the noise"):
        indirect.train(toy(), rounds=100, method=many)
    with pytest.raises(ValueError, match="staleness must be below participants=3, got 3"):
        indirect.train(toy(), method=replace(METHOD, staleness=3))
    with pytest.raises(ValueError, match="uses no aggregation, so Lattice cannot protect it"):
        indirect.train(toy(), method=METHOD, aggregation=Lattice())


def test_an_update_over_the_bound_stops_the_run():
    with pytest.raises(ValueError, match=r"must lie in \[-0\.5, 0\.5\]"):
        indirect.train(toy(), rounds=5, method=replace(METHOD, learning_rate=50.0, bound=0.5))
