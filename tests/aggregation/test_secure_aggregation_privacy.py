"""What the collector and its colluders see of the others: sums, sizes, and uniform words.

The statistical tests look at each bit of N = 2^17 words: its mean, and whether it goes with the
input. Each statistic, in deviations, is a standard normal for uniform words. 6.2 of them come by
chance with 5.6e-10, and this module looks at fewer than 1,000: it fails by chance in 6e-7 of its
runs. In 999 of 1,000 runs it catches a bit whose mean is off by 0.013, or whose correlation
with the input is 0.026; a bit that is not masked is off by far more.
"""

from unittest import mock

import numpy as np
import pytest

from refimpl import network
from refimpl.aggregation import SecAggPlus, SecureAggregation
from refimpl.aggregation import secure_aggregation_client as client
from refimpl.aggregation import secure_aggregation_roles as roles
from refimpl.aggregation.secure_aggregation_client import Participant
from refimpl.arithmetic import randomness, ring
from refimpl.network import codec
from refimpl.smc import masks, shamir
from tests.aggregation.secure import VERSIONS, names, other_masks, real_add, summed, topics

LENGTH, BITS = 2**17, 19  # 6 values of 16 bits add up to 19
LIMIT = 6.2
COUNT = 6
every_version = pytest.mark.parametrize("version", VERSIONS)
INPUTS = {
    "lowest and highest": [np.full(LENGTH, -1.0), np.full(LENGTH, 1.0)],
    "alternating": [np.tile([-1.0, 1.0], LENGTH // 2), np.tile([1.0, -1.0], LENGTH // 2)],
}


def deviations(words, pattern):
    """The largest, over all bits, of their means and their correlations with ``pattern`` (±1)."""
    signs = 2.0 * ((words[:, None] >> np.arange(BITS, dtype=np.uint32)) & 1) - 1
    scale = np.sqrt(len(words))
    return np.abs([signs.sum(axis=0), pattern @ signs]).max() / scale


def observed(aggregation, inputs, rng=None):
    """The outcome of a sum, and its ``Participant`` objects by name."""
    made = {}

    def participant(name, *rest):
        made[name] = Participant(name, *rest)
        return made[name]

    with mock.patch.object(roles, "Participant", participant):
        return summed(aggregation, inputs, rng=rng)[2], made


def coalition_strips(outcome, made, spies, target):
    """The target's masked words without every mask that the spies or the collector can know."""
    (message,) = outcome.transcript.select(sender=target, topic="masked vector")
    me, terms = made[target], made[target].terms
    words = ring.unpack(message.payload[1], terms.bits, LENGTH).astype(np.uint32)
    masks.add(words, me.seed, sign=-1)  # unmasking reveals it, as the target survived
    for peer in me.members.tolist():
        if terms.contributors[peer] in spies:
            seed = me._agree(peer, "mask")  # the spy has the same
            masks.add(words, seed, sign=-1 if me.me > peer else 1)
    return words & np.uint32(2**terms.bits - 1)


@pytest.mark.parametrize("inputs", INPUTS.values(), ids=INPUTS)
@every_version
def test_a_masked_vector_looks_the_same_whatever_it_hides(version, inputs):
    """To the collector alone: uniform words for either of two chosen inputs."""
    others = [np.zeros(LENGTH)] * (COUNT - 2)
    outcome, _ = observed(VERSIONS[version], [*inputs, *others])
    for name, vector in zip(names(2), inputs, strict=True):
        (message,) = outcome.transcript.select(sender=name, topic="masked vector")
        words = ring.unpack(message.payload[1], BITS, LENGTH)
        assert deviations(words, vector) < LIMIT


@pytest.mark.parametrize(
    ("aggregation", "spies"),
    [
        (SecureAggregation(threshold=5), 4),
        (SecureAggregation(threshold=4, adversary="active"), 1),
        (SecAggPlus(neighbours=4, threshold=3, dropout=0.4), 2),
    ],
    ids=VERSIONS,
)
def test_colluders_cannot_tell_two_inputs_apart(aggregation, spies):
    """The collector with as many contributors as the threshold withstands. What is left of the
    honest ones' vectors is uniform, but for their sum."""
    honest, spying = names(COUNT - spies), names(COUNT)[COUNT - spies :]
    for inputs in INPUTS.values():
        others = [np.zeros(LENGTH)] * (COUNT - 2)
        outcome, made = observed(aggregation, [*inputs, *others])
        encoding = made["p0000"].terms.encoding
        left = [coalition_strips(outcome, made, spying, name) for name in honest]
        for words in left[:2]:
            assert deviations(words, inputs[0]) < LIMIT
        total = sum(words.astype(np.uint64) for words in left) % 2**BITS
        vectors = [*inputs, *others][: len(honest)]
        assert np.array_equal(total, sum(encoding.encode(v) for v in vectors) % 2**BITS)


def test_the_vector_of_one_who_came_too_late_stays_hidden():
    """Its key is revealed, so all pairwise masks go; the self-mask alone must hide it."""
    aggregation, late = SecureAggregation(threshold=4), "p0001"
    inputs = [np.zeros(LENGTH), INPUTS["alternating"][0], *[np.zeros(LENGTH)] * 4]
    made = {}

    def participant(name, *rest):
        made[name] = Participant(name, *rest)
        return made[name]

    faults = [network.Fault("delay", sender=late, topic="masked vector")]
    with mock.patch.object(roles, "Participant", participant):
        _, who, outcome = summed(aggregation, inputs, at_least=5, faults=faults)
    assert late not in who
    (message,) = outcome.transcript.select(sender=late, topic="masked vector")
    assert message.arrived  # the collector does hold it
    words, me = ring.unpack(message.payload[1], BITS, LENGTH).astype(np.uint32), made[late]
    for peer in me.members.tolist():
        masks.add(words, me._agree(peer, "mask"), sign=-1 if me.me > peer else 1)
    words &= np.uint32(2**BITS - 1)
    assert deviations(words, inputs[1]) < LIMIT
    masks.add(words, me.seed, sign=-1)  # with it, it would be there to read
    assert np.array_equal(words & np.uint32(2**BITS - 1), me.terms.encoding.encode(inputs[1]))


@every_version
def test_a_view_holds_nothing_else(version):
    """With all secrets fixed, two inputs change the masked vectors of their owners alone, by
    exactly their difference; topics, sizes and everything else are the same."""
    aggregation = VERSIONS[version]
    inputs = np.random.default_rng(0).uniform(-0.5, 0.5, (COUNT, 50))
    moved = inputs.copy()
    moved[0] += 0.25
    moved[1] -= 0.25
    (one, made), (two, _) = (
        observed(aggregation, given, rng=randomness.seeded(5)) for given in (inputs, moved)
    )
    view, other = (outcome.transcript.view("server", "p0004") for outcome in (one, two))
    assert {message.topic for message in view} == set(topics(aggregation))
    assert [(*m[:4], m.bytes) for m in view] == [(*m[:4], m.bytes) for m in other]
    changed = [
        (a.sender, a.topic)
        for a, b in zip(view, other, strict=True)
        if codec.encode(a.payload).join() != codec.encode(b.payload).join()
    ]
    assert changed == [("p0000", "masked vector"), ("p0001", "masked vector")]
    encoding = made["p0000"].terms.encoding
    for place, name in enumerate(names(2)):
        words = [
            ring.unpack(
                v.select(sender=name, topic="masked vector").messages[0].payload[1], BITS, 50
            )
            for v in (view, other)
        ]
        difference = encoding.encode(moved[place]) - encoding.encode(inputs[place])
        assert np.array_equal(
            ring.subtract(words[1], words[0], BITS), ring.reduce(difference, BITS)
        )


def test_shares_of_the_secrets_travel_sealed():
    """The collector relays what it cannot open: with another key a share is not there."""
    outcome, made = observed(SecureAggregation(threshold=4), np.zeros((COUNT, 3)))
    for name, party in made.items():
        for row in outcome.transcript.select(sender=name, topic="shares").messages[0].payload:
            for secret in (party.seed, party.mask_keys.private):
                limb = int.from_bytes(secret[:7], "little")
                assert limb not in ring.unpack(row[:61], 61, 8).tolist()
    private = [p.mask_keys.private for p in made.values()]
    private += [p.channel_keys.private for p in made.values()]
    whole = b"".join(codec.encode(m.payload).join() for m in outcome.transcript)
    assert not any(secret in whole for secret in private)


@every_version
def test_nothing_is_sealed_twice_under_one_key_and_direction(version, monkeypatch):
    """Two messages of AES-GCM under one key and nonce give away their difference, and more."""
    sealed, right = [], client.key_agreement.seal

    def noted(key, plaintext, associated):
        sealed.append((key, associated))
        return right(key, plaintext, associated)

    monkeypatch.setattr(client.key_agreement, "seal", noted)
    _, made = observed(VERSIONS[version], np.zeros((COUNT, 3)))
    assert len(set(sealed)) == len(sealed) == sum(len(party.peers) for party in made.values())


@every_version
def test_a_secret_takes_threshold_shares_and_no_fewer(version):
    """Of the seed and of the key: with one share fewer, what comes out is another number."""
    _, made = observed(VERSIONS[version], np.zeros((COUNT, 3)))
    threshold = VERSIONS[version].plan(COUNT).threshold
    for owner in made.values():
        holders = sorted([owner.me, *owner.peers.tolist()])
        shares = {}
        for x, holder in enumerate(holders, 1):
            party = made[names(COUNT)[holder]]
            shares[x] = party.held[party.owners.tolist().index(owner.me)]
        limbs = [client.key_agreement.to_limbs(s) for s in (owner.seed, owner.mask_keys.private)]
        secret = np.concatenate(limbs)
        assert np.array_equal(shamir.reconstruct(shares, threshold), secret)
        few = dict(list(shares.items())[: threshold - 1])
        assert not (shamir.reconstruct(few) == secret).any()


# --- planted faults that the exact sums do not notice, as the masks still come off ---------------


def without(seeds):
    """``masks`` that leave out those of ``seeds``, whoever adds them or takes them off."""

    def add(total, seed, *, sign=1):
        if seed not in seeds:
            real_add(total, seed, sign=sign)

    return other_masks(add)


def test_a_missing_pairwise_mask_is_noticed(monkeypatch):
    right = Participant._agree
    monkeypatch.setattr(
        Participant,
        "_agree",
        lambda self, peer, purpose: bytes(16) if purpose == "mask" else right(self, peer, purpose),
    )
    with without([bytes(16)]), pytest.raises(AssertionError, match="deviations"):
        test_colluders_cannot_tell_two_inputs_apart(SecureAggregation(threshold=5), 4)


def test_a_missing_self_mask_is_noticed(monkeypatch):
    seeds, right = [], Participant.__init__

    def noted(self, *rest):
        right(self, *rest)
        seeds.append(self.seed)

    monkeypatch.setattr(Participant, "__init__", noted)
    with without(seeds), pytest.raises(AssertionError, match="deviations"):
        test_the_vector_of_one_who_came_too_late_stays_hidden()


def test_secrets_that_travel_open_are_noticed(monkeypatch):
    monkeypatch.setattr(
        client.key_agreement, "seal", lambda key, plaintext, reader: plaintext + bytes(16)
    )
    monkeypatch.setattr(
        client.key_agreement, "open_sealed", lambda key, sealed, reader: sealed[:-16]
    )
    monkeypatch.setattr(
        client.shamir,
        "share",
        lambda secret, parties, threshold, rng: np.tile(secret, (parties, 1)),
    )
    with pytest.raises(AssertionError):
        test_shares_of_the_secrets_travel_sealed()
