"""Secure aggregation that was not: six faults seen in the wild or one line away, and their attacks.

Every broken version below still gives the exact sum, save the one that overflows. So no test of
sums finds it. Each fault is planted in the real protocol; an attack on what the coalition of the
collector and all but two contributors sees gets the victim's vector out of it; and the same attack,
on the protocol as it is, gets nothing. Attacks and detectors come first; they know no secret but
the coalition's.
"""

from dataclasses import dataclass, replace
from typing import ClassVar
from unittest import mock

import numpy as np
import pytest
from scipy import stats

from refimpl.aggregation import Group, SecureAggregation
from refimpl.aggregation import secure_aggregation_roles as roles
from refimpl.aggregation.secure_aggregation_client import Participant
from refimpl.aggregation.secure_aggregation_server import Collector
from refimpl.aggregation.secure_aggregation_terms import Terms, UnmaskingRefused, pack_set
from refimpl.arithmetic import randomness, ring
from refimpl.arithmetic.fixed_point import FixedPoint
from refimpl.network import Fault
from refimpl.smc import key_agreement, masks
from tests.aggregation.secure import is_exact, names, other_masks, real_add, summed, vectors

COLLUDER, PARTNER, VICTIM = names(3)  # the partner is the victim's only honest peer
CURIOUS = SecureAggregation(threshold=2)


# --- what the coalition sees -------------------------------------------------------------------


class Spy(Collector):
    """It follows the protocol, and keeps what passes through its hands."""

    def __init__(self, *rest):
        super().__init__(*rest)
        self.words, self.secrets = {}, {}

    def add(self, name, masked):
        super().add(name, masked)
        self.words[name] = ring.unpack(masked[1], self.terms.bits, masked[0]).astype(np.uint32)

    def _secrets(self, shares, owners, length):
        found = super()._secrets(shares, owners, length)
        self.secrets.update({(self._name(p), length): secret for p, secret in found.items()})
        return found


@dataclass
class Run:
    """A sum, the collector and the contributors that made it."""

    total: np.ndarray
    survivors: tuple
    server: Spy
    people: dict

    def words_of(self, vector):
        """What a vector looks like before it is masked."""
        return self.server.terms.encoding.encode(vector).astype(np.uint32)

    def agreed(self, name, peer):
        """The mask seed that ``name`` shares with ``peer``, as ``name`` computes it."""
        return self.people[name]._agree(names(len(self.people)).index(peer), "mask")


def play(
    inputs, *, aggregation=CURIOUS, participant=Participant, round=0, at_least=None, **options
):
    """One sum of ``inputs``, all parties honest, but made by ``participant``."""
    people, servers = {}, []

    def contributor(name, terms, credentials):
        people[name] = participant(name, terms, credentials)
        return people[name]

    def server(*rest):
        servers.append(Spy(*rest))
        return servers[0]

    group = Group("server", names(len(inputs)), round, at_least)
    with mock.patch.multiple(roles, Participant=contributor, Collector=server):
        total, who, _ = summed(aggregation, inputs, group=group, **options)
    return Run(total, who, servers[0], people)


# --- attacks and detectors ---------------------------------------------------------------------


def peel(words, name, seeds, bits):
    """``words`` of ``name`` without the masks of ``seeds``: {peer: seed}, under None its own."""
    words = words.copy()
    for peer, seed in seeds.items():
        masks.add(words, seed, sign=-1 if peer is None or name > peer else 1)
    return words & np.uint32(2**bits - 1)


def coalition(run):
    """All the victim's masks but one taken off: the self-mask was revealed, the colluder helps."""
    own = run.server.secrets[VICTIM, masks.SEED_BYTES]
    helped = run.agreed(COLLUDER, VICTIM)
    bits = run.server.terms.bits
    return peel(run.server.words[VICTIM], VICTIM, {None: own, COLLUDER: helped}, bits)


def search(words, bits, limit, seeds):
    """The seeds whose mask leaves only values up to ``limit``: a vector, almost surely.

    A wrong seed leaves a random word, at most ``limit`` with probability limit / 2^bits each.
    """
    found = []
    for seed in seeds:
        if (peel(words[:32], VICTIM, {PARTNER: seed}, bits) <= limit).all():
            found.append(seed)
    return found


def repeats(mask, count, rng):
    """How many of the masks of ``count`` random seeds occurred before, by their first 64 bits.

    Of masks from seeds of s effective bits, about count^2 / 2^(s+1) repeat: 2 of 2^17 at s = 32,
    and with all 128 bits none, save with probability 2^-31 (equal beginnings).
    """
    seeds = rng.bytes(16 * count)
    begins = b"".join(mask(2, seeds[i : i + 16]).tobytes() for i in range(0, 16 * count, 16))
    return count - len(np.unique(np.frombuffer(begins, np.uint64)))


def predict(words, count):
    """The next ``count`` outputs of the Mersenne twister after these 624, by inverting it."""
    state = words[:624].astype(np.uint32)
    state ^= state >> 18
    state ^= state << 15 & np.uint32(0xEFC60000)
    shifted = state.copy()
    for _ in range(5):
        shifted = state ^ (shifted << 7 & np.uint32(0x9D2C5680))
    state = shifted.copy()
    for _ in range(3):
        state = shifted ^ state >> 11
    twister = np.random.RandomState()
    twister.set_state(("MT19937", state, 624))
    return twister.randint(0, 2**32, count, dtype=np.uint32)


def is_uniform(words, bits):
    """Whether ``words`` look uniform in [0, 2^bits): Kolmogorov–Smirnov, false once in 10^8."""
    return stats.kstest(words / 2.0**bits, "uniform").pvalue > 1e-8


# --- 1. seeds folded to few bits ---------------------------------------------------------------


def folded(seed, size):
    """The seed's parts of ``size`` bytes, XORed into one: as many bits are left as it has."""
    parts = np.frombuffer(seed, np.uint8).reshape(-1, size)
    return bytes(np.bitwise_xor.reduce(parts)) + bytes(16 - size)


def with_folded_seeds(size):
    return lambda total, seed, *, sign=1: real_add(total, folded(seed, size), sign=sign)


def candidates():
    """All seeds that 16 bits can be. For 32 bits the same search takes 2^16 times as long."""
    return (number.to_bytes(2, "big") + bytes(14) for number in range(2**16))


def test_a_seed_folded_to_16_bits_is_found_by_search():
    inputs = vectors(3, 40)
    with other_masks(with_folded_seeds(2)):
        run = play(inputs)
        left, bits = coalition(run), run.server.terms.bits
        (seed,) = search(left, bits, 2**16 - 2, candidates())
        found = peel(left, VICTIM, {PARTNER: seed}, bits)
    assert is_exact(run.total, inputs, names(3))
    assert np.array_equal(found, run.words_of(inputs[2]))


def test_no_such_seed_fits_the_protocol_as_it_is():
    """By chance one of 2^16 leaves 32 values that are small enough: 2^-48."""
    run = play(vectors(3, 40))
    assert not search(coalition(run), run.server.terms.bits, 2**16 - 2, candidates())


def test_seeds_folded_to_32_bits_repeat_their_masks():
    """32 bits are found with probability 1 - e^-2, 30 with 1 - e^-8; here the draws are fixed."""

    def weak(length, seed):
        return masks.mask(length, folded(seed, 4))

    assert repeats(weak, 2**17, randomness.seeded(1)) >= 1
    assert repeats(masks.mask, 2**17, randomness.seeded(1)) == 0


def test_every_bit_of_a_seed_counts():
    """Whatever the fold: a seed cut to fewer bytes, too, is found here."""
    seed = randomness.seeded(3).bytes(16)
    flipped = [bytes(16)] + [(1 << bit).to_bytes(16, "big") for bit in range(128)]
    seeds = [bytes(a ^ b for a, b in zip(seed, flip, strict=True)) for flip in flipped]
    assert len({masks.mask(4, seed).tobytes() for seed in seeds}) == 129
    assert len({masks.mask(4, folded(seed, 4)).tobytes() for seed in seeds}) == 33


# --- 2. predictable masks ----------------------------------------------------------------------


def from_a_twister(total, seed, *, sign=1):
    """All 128 bits of the seed are used, but by a generator made for simulation."""
    twister = np.random.RandomState(np.frombuffer(seed, "<u4"))
    words = twister.randint(0, 2**32, total.size, dtype=np.uint32)
    (np.add if sign == 1 else np.subtract)(total, words, out=total)


# Thirty bits and three parties make a ring of 32, so that words are seen whole. The first 624
# values are known to the coalition: pixels that are dark in every picture, say, never train.
WIDE = SecureAggregation(threshold=2, bits=30)


def partly_known():
    inputs = vectors(3, 700)
    inputs[:, :624] = 0
    return inputs


def predicted(run, known):
    """The victim's last values, from the mask's first 624 words and what follows from them."""
    left = coalition(run)
    mask = left[:624] - run.words_of(np.zeros(624))
    return left[624:] - predict(mask, len(left) - 624)


def test_masks_of_a_simulation_generator_are_predicted():
    inputs = partly_known()
    with other_masks(from_a_twister):
        run = play(inputs, aggregation=WIDE)
        found = predicted(run, 624)
    assert run.server.terms.bits == 32 and is_exact(run.total, inputs, names(3), bits=30)
    assert np.array_equal(found, run.words_of(inputs[2, 624:]))


def test_aes_masks_are_not():
    """One of 76 words is right by chance with probability 2^-25, two of them with 2^-52."""
    inputs = partly_known()
    run = play(inputs, aggregation=WIDE)
    assert (predicted(run, 624) == run.words_of(inputs[2, 624:])).sum() < 2


# --- 3. overflow at n summands -----------------------------------------------------------------


def for_two(terms):
    """The bits of a sum of two, whatever the group: right in every test with two parties."""
    return FixedPoint(terms.encoding.bound, terms.encoding.bits, summands=2).sum_bits


@pytest.mark.parametrize("count", [3, 4, 5, 8, 9, 16, 17])
def test_the_largest_sums_do_not_wrap(count):
    for value in (16.0, -16.0):
        inputs = np.full((count, 3), value)
        run = play(inputs)
        assert is_exact(run.total, inputs, names(count))
        assert run.total.tolist() == [count * value] * 3
        assert run.server.terms.bits == (count * (2**16 - 1)).bit_length()


@pytest.mark.parametrize("count", [3, 5, 10])
def test_a_ring_for_two_summands_wraps_in_silence(monkeypatch, count):
    """Small values come out right, large ones wrong and without an error: the mean is absurd."""
    monkeypatch.setattr(Terms, "bits", property(for_two))
    large = np.full((count, 3), 14.4)
    run = play(large)
    assert np.isfinite(run.total).all() and not is_exact(run.total, large, names(count))
    assert abs(run.total[0] - count * 14.4) > 16
    negative = np.full((count, 3), -14.4)  # its encodings are small, so there is no overflow
    assert is_exact(play(negative).total, negative, names(count))


# --- 4. a mask used twice ----------------------------------------------------------------------


class SameSecrets(Participant):
    """Made anew for each round from a stored state, seeds and keys included."""

    def __init__(self, name, terms, credentials):
        # Neither the round nor the setup is in the keys.
        super().__init__(name, replace(terms, session="", round=0), credentials)
        rng = randomness.seeded(0, name)
        self.channel_keys, self.mask_keys = (key_agreement.generate(rng) for _ in range(2))
        self.seed = rng.bytes(16)


def differences(participant, first, second):
    """The victim's masked vectors of two rounds, subtracted; and the ring's bits."""
    runs = [
        play(inputs, participant=participant, round=round)
        for round, inputs in enumerate((first, second))
    ]
    for run, inputs in zip(runs, (first, second), strict=True):
        assert is_exact(run.total, inputs, names(3))
    one, other = (run.server.words[VICTIM] for run in runs)
    bits = runs[0].server.terms.bits
    return (other - one) & np.uint32(2**bits - 1), runs


def test_a_mask_used_twice_gives_away_the_difference():
    first, second = vectors(3, 2_000, 1), vectors(3, 2_000, 2)
    difference, (run, _) = differences(SameSecrets, first, second)
    bits = run.server.terms.bits
    step = ring.to_signed(difference, bits) * run.server.terms.encoding.unit
    assert np.abs(step - (second[2] - first[2])).max() <= 2 * run.server.terms.encoding.unit
    assert not is_uniform(difference, bits)


def test_masks_of_two_rounds_have_nothing_in_common():
    """Two rounds of the same vectors: the difference is uniform, though the vectors' is zero.

    With 2,000 values, a part of 15 % of them that is left as it was is found.
    """
    same = vectors(3, 2_000, 1)
    difference, (run, _) = differences(Participant, same, same)
    bits = run.server.terms.bits
    assert is_uniform(difference, bits)
    partly = difference.copy()
    partly[:300] = 0
    assert not is_uniform(partly, bits)


# --- 5. keys used in two rounds ----------------------------------------------------------------


class KeepsKeys(Participant):
    """Its self-mask is new in each round, and so are its sharings; its mask keys are not."""

    kept: ClassVar[dict] = {}

    def __init__(self, name, terms, credentials):
        super().__init__(name, terms, credentials)
        self.mask_keys = self.kept.setdefault(name, self.mask_keys)


def opened_later(participant, inputs):
    """The victim drops out of round 0, which reveals its key; in round 1 the key opens its masks.

    The collector alone does it. Also says whether the victim's key of round 0 is that of round 1.
    """
    lost = [Fault("drop", sender=VICTIM, topic="masked vector")]
    before = play(inputs, participant=participant, at_least=3, faults=lost)
    assert VICTIM not in before.survivors and is_exact(before.total, inputs, before.survivors)
    own = key_agreement.pair_of(before.server.secrets[VICTIM, key_agreement.PRIVATE_BYTES])
    after = play(inputs, participant=participant, round=1)
    assert is_exact(after.total, inputs, names(4))
    server, me = after.server, names(4).index(VICTIM)
    seeds = {
        name: server.terms.key(own, server._mask_key(peer), (VICTIM, name), "mask")
        for peer, name in enumerate(names(4))
        if peer != me
    }
    seeds[None] = server.secrets[VICTIM, masks.SEED_BYTES]
    opened = peel(server.words[VICTIM], VICTIM, seeds, server.terms.bits)
    return opened, after, own.public == server._mask_key(me)


def test_a_key_kept_after_a_dropout_opens_the_next_round():
    inputs = vectors(4, 200)
    with mock.patch.object(KeepsKeys, "kept", {}):
        opened, run, same = opened_later(KeepsKeys, inputs)
    assert same and np.array_equal(opened, run.words_of(inputs[2]))


def test_the_key_of_a_round_opens_no_other():
    """By chance two of 200 words agree with probability 2^-21; three with 2^-33."""
    inputs = vectors(4, 200)
    opened, run, same = opened_later(Participant, inputs)
    assert not same and (opened == run.words_of(inputs[2])).sum() < 3


# --- 6. both secrets of one party --------------------------------------------------------------


class Forgetful(Participant):
    """It does not remember which survivors it has accepted."""

    def accept(self, survivors):
        self.accepted = False
        return super().accept(survivors)


def ask_twice(run):
    """The collector, after the sum, says that the victim has dropped out, and unmasks again."""
    server = run.server
    others = server.survivors[server.survivors != server._position(VICTIM)]
    answers = {}
    for party in others:
        name = server._name(party)
        run.people[name].accept(pack_set(others, server.members[party]))
        answers[name] = run.people[name].reveal()
    del server.lengths[server._position(VICTIM)]
    _, keys = server._shares(answers)
    victim = np.array([server._position(VICTIM)])
    private = server._secrets(keys, victim, key_agreement.PRIVATE_BYTES)[int(victim[0])]
    own = key_agreement.pair_of(private)
    seeds = {
        server._name(peer): server.terms.key(
            own, server._mask_key(peer), (VICTIM, server._name(peer)), "mask"
        )
        for peer in others
    }
    seeds[None] = server.secrets[VICTIM, masks.SEED_BYTES]
    return peel(server.words[VICTIM], VICTIM, seeds, server.terms.bits)


def test_both_secrets_of_a_party_are_its_vector():
    inputs = vectors(4, 50)
    run = play(inputs, participant=Forgetful)
    assert is_exact(run.total, inputs, names(4))
    assert np.array_equal(ask_twice(run), run.words_of(inputs[2]))


def test_participants_refuse_to_reveal_the_second():
    run = play(vectors(4, 50))
    with pytest.raises(UnmaskingRefused, match="'p0000' reveals no shares to 'server'") as caught:
        ask_twice(run)
    assert "the survivors must stay those accepted before" in str(caught.value)
    assert caught.value.parties == ("server",)
