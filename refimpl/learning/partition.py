"""Who holds which examples: three ways to divide a data set among participants.

Each function takes the labels ``(n,)`` and returns one array of row numbers per participant.
Every row goes to exactly one participant, and every participant gets at least one row, or it is
an error. The division is simulated: real hospitals have the skew they have.
"""

import numpy as np


def iid(labels: np.ndarray, participants: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Shuffle and cut into equal parts (sizes differ by at most one)."""
    _check(len(labels), participants)
    return np.array_split(rng.permutation(len(labels)), participants)


def by_label(
    labels: np.ndarray,
    participants: int,
    rng: np.random.Generator,
    *,
    labels_per_participant: int = 2,
) -> list[np.ndarray]:
    """Each participant sees only ``labels_per_participant`` of the labels.

    The pathological split of McMahan et al. 2017, section 3 (there by sorted shards, which may
    straddle two labels; here each participant has exactly that many). The examples of a label are
    divided evenly among its holders.

    Raises:
        ValueError: more labels per participant than there are, too few slots to place every
            label, or a label with fewer examples than holders.
    """
    _check(len(labels), participants)
    kinds, available = np.unique(labels, return_counts=True)
    held = _deal(len(kinds), participants, labels_per_participant, rng)
    counts = np.zeros((participants, len(kinds)), dtype=int)
    for kind, count in enumerate(available):
        holders = np.flatnonzero((held == kind).any(axis=1))
        if count < len(holders):
            raise ValueError(
                f"label {kinds[kind]} must have an example for each of its {len(holders)} "
                f"holders, got {count}; use fewer participants"
            )
        counts[holders, kind] = [
            len(piece) for piece in np.array_split(np.arange(count), len(holders))
        ]
    return _hand_out(labels, counts, rng)


def dirichlet(
    labels: np.ndarray, participants: int, rng: np.random.Generator, *, alpha: float
) -> list[np.ndarray]:
    """Each participant draws its own mixture of labels from a Dirichlet distribution.

    Source: Hsu, Qi and Brown 2019, section 3: q ~ Dir(alpha · p) with p the mixture of the whole
    set. Small alpha: nearly one label each; large alpha: nearly IID. Sizes differ by at most one.
    Labels run out, so a participant whose turn comes late takes more of what is left; turns are
    random.

    Raises:
        ValueError: alpha is not above 0 and finite, or there are fewer examples than participants.
    """
    _check(len(labels), participants)
    available = np.unique(labels, return_counts=True)[1]
    sizes = np.array([len(part) for part in np.array_split(labels, participants)])
    counts = dirichlet_counts(available, sizes, rng, alpha=alpha)
    return _hand_out(labels, rng.permutation(counts), rng)


def dirichlet_counts(
    available: np.ndarray, sizes: np.ndarray, rng: np.random.Generator, *, alpha: float
) -> np.ndarray:
    """How many examples of each label each participant takes, ``(participants, labels)``.

    ``available`` counts the examples of each label; participant k takes ``sizes[k]`` of them, in
    turn. The first is not limited by what others took as long as its size is below the smallest
    label: its row is then exactly Dirichlet-multinomial.
    """
    if not (np.isfinite(alpha) and alpha > 0):
        raise ValueError(f"alpha must be above 0 and finite, got {alpha}")
    left = np.array(available)
    rows = []
    for size in sizes:
        mixture = rng.dirichlet(alpha * available / available.sum())
        row = np.zeros_like(left)
        while (missing := size - row.sum()) > 0:
            wanted = np.where(left > row, mixture, 0.0)
            if not wanted.sum() > 0:  # all that it wanted has run out: it takes what there is
                wanted = (left - row).astype(float)
            row += np.minimum(rng.multinomial(missing, wanted / wanted.sum()), left - row)
        left -= row
        rows.append(row)
    return np.array(rows)


def _deal(kinds: int, participants: int, each: int, rng: np.random.Generator) -> np.ndarray:
    """Which labels each participant holds: ``(participants, each)``, no label twice in a row."""
    slots = participants * each
    if not 1 <= each <= kinds:
        raise ValueError(
            f"labels_per_participant must be between 1 and the number of labels={kinds}, got {each}"
        )
    if slots < kinds:
        raise ValueError(
            f"participants × labels_per_participant must be at least the number of labels="
            f"{kinds} so that each label has a holder, got {slots}"
        )
    # Dealing the labels round and round gives each participant different ones, and each label
    # as many holders as any other, give or take one.
    dealt = rng.permutation(kinds)[np.arange(slots) % kinds]
    return rng.permutation(dealt.reshape(participants, each))


def _hand_out(labels: np.ndarray, counts: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Rows at random, ``counts[participant, label]`` of each label, in label order."""
    pieces = []
    for kind, column in zip(np.unique(labels), counts.T, strict=True):
        rows = rng.permutation(np.flatnonzero(labels == kind))
        pieces.append(np.split(rows, np.cumsum(column)[:-1]))
    return [np.concatenate(part) for part in zip(*pieces, strict=True)]


def _check(examples: int, participants: int) -> None:
    if not 1 <= participants <= examples:
        raise ValueError(
            f"participants must be between 1 and the number of examples={examples}, "
            f"got {participants}"
        )
