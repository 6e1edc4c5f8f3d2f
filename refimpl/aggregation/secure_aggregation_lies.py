"""What lying parties can do to secure aggregation, and who notices: a table, each row tested.

A party that lies sends well-formed falsehoods. (What the network does to messages is always
noticed.) The honest-but-curious version promises nothing against a collector that lies, and
shows here what its promise excludes. ``SecAggPlus`` notices what the honest-but-curious version
of ``SecureAggregation`` does.
"""

from typing import Literal, NamedTuple

Ending = Literal["detected", "not detected", "not possible"]


class Lie(NamedTuple):
    """``curious`` and ``active``: how it ends in either version. ``then``: what comes of it.

    "detected": a party ends with an error before the sum is believed or a vector exposed.
    "not possible": there is nothing of that kind to lie about.
    """

    liar: Literal["contributor", "collector"]
    lie: str
    curious: Ending
    active: Ending
    then: str


LIES = (
    Lie(
        "contributor",
        "masks another vector than its own",
        "not detected",
        "not detected",
        "the sum is off by the difference: masked vectors are malleable",
    ),
    Lie(
        "contributor",
        "deals shares of a seed that is not its own",
        "not detected",
        "not detected",
        "the sum is random, and is refused only where it is out of range",
    ),
    Lie(
        "contributor",
        "deals shares of a key that is not its own, and drops out",
        "detected",
        "detected",
        "the collector compares with the advertised key",
    ),
    Lie(
        "contributor",
        "deals shares of no single secret",
        "detected",
        "detected",
        "shares disagree where more than the threshold answer",
    ),
    Lie(
        "contributor",
        "seals a share so that its reader cannot open it",
        "detected",
        "detected",
        "the reader stops and names the sender",
    ),
    Lie(
        "contributor",
        "reveals a wrong share",
        "detected",
        "detected",
        "more than the threshold answer; where they are threshold + 2e, up to e liars are named",
    ),
    Lie(
        "contributor",
        "reveals a wrong share, and no more than the threshold answer",
        "not detected",
        "not detected",
        "it can shift a seed, and the sum is random; a shifted key differs from the advertised",
    ),
    Lie(
        "contributor",
        "advertises the keys of an earlier round again",
        "not detected",
        "detected",
        "a signature is bound to its round; keys signed anew would pass, and harm their owner",
    ),
    Lie(
        "contributor",
        "advertises keys without a valid signature",
        "not possible",
        "detected",
        "every other contributor stops",
    ),
    Lie(
        "collector",
        "puts its own keys in the place of everybody's",
        "not detected",
        "detected",
        "it reads every share, and so every single vector",
    ),
    Lie(
        "collector",
        "announces the keys of an earlier round for somebody who is not there",
        "not detected",
        "detected",
        "no harm: it cannot share in that party's name, so nobody masks with it",
    ),
    Lie(
        "collector",
        "tells half of the contributors that somebody dropped out",
        "not detected",
        "detected",
        "it gets both secrets of that party, and so its vector",
    ),
    Lie(
        "collector",
        "asks the same contributors for both secrets of somebody",
        "detected",
        "detected",
        "they refuse the second set of survivors",
    ),
    Lie(
        "collector",
        "announces fewer survivors than the threshold",
        "detected",
        "detected",
        "the contributors refuse",
    ),
    Lie(
        "collector",
        "forges a signature of the survivors",
        "not possible",
        "detected",
        "the contributors refuse",
    ),
    Lie(
        "collector",
        "leaves a survivor out of everybody's list",
        "not detected",
        "not detected",
        "no harm: it is the sum of the others, who must be enough (active: at_least of the group)",
    ),
)
