"""The two roles of secure aggregation: what a contributor and the collector send each other.

A contributor that is out, because its message did not come in time, is sent None in place of the
next answer, and stops: it may take part again in the next round.
Source: Bonawitz et al. 2017, figure 4; what the parties compute is in the modules of
``Participant`` and ``Collector``.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from refimpl.aggregation.interface import check_vector
from refimpl.aggregation.secure_aggregation_client import Participant
from refimpl.aggregation.secure_aggregation_server import Collector
from refimpl.aggregation.secure_aggregation_terms import Credentials, Positions, Terms
from refimpl.network import Link


async def contributor(
    link: Link, vector: np.ndarray, terms: Terms, credentials: Credentials
) -> None:
    """Contribute ``vector``, floats of shape (length,) within the bound of ``terms.encoding``."""
    words = terms.encoding.encode(check_vector(vector, owner=link.name)).astype(np.uint32)
    me, server, here = (
        Participant(link.name, terms, credentials),
        terms.collector,
        link.in_round(terms.round),
    )
    await here.send(server, "keys", me.advertise())
    if (roster := await here.receive(server, "roster")) is None:
        return
    await here.send(server, "shares", me.share(roster))
    if (relayed := await here.receive(server, "relayed shares")) is None:
        return
    me.open(relayed)
    await here.send(server, "masked vector", me.mask(words))
    del words
    if (survivors := await here.receive(server, "survivors")) is None:
        return
    signature, endorsements = me.accept(survivors), None
    if terms.active:
        await here.send(server, "consistency", signature)
        if (endorsements := await here.receive(server, "endorsements")) is None:
            return
    await here.send(server, "unmasking shares", me.reveal(endorsements))


async def collector(
    link: Link, terms: Terms, graph: Sequence[Positions]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The float64 sum, and the names whose vectors are in it. ``graph``: everybody's neighbours."""
    state, here = Collector(terms, graph), link.in_round(terms.round)
    adverts = await here.gather(terms.contributors, "keys", at_least=terms.enough)
    await _answer(here, terms.contributors, "roster", state.rosters(adverts))
    shares = await here.gather(adverts, "shares", at_least=terms.enough)
    await _answer(here, adverts, "relayed shares", state.relay(shares))
    masked = await here.gather(shares, "masked vector", at_least=terms.enough)
    for name in list(masked):
        state.add(name, masked.pop(name))  # one by one, so that none is kept
    survivors = who = tuple(terms.contributors[party] for party in state.survivors)
    await _answer(here, shares, "survivors", state.announce())
    if terms.active:
        signed = await here.gather(survivors, "consistency", at_least=terms.threshold)
        await _answer(here, survivors, "endorsements", state.endorse(signed))
        who = tuple(signed)
    answers = await here.gather(who, "unmasking shares", at_least=terms.threshold)
    return state.unmask(answers), survivors


async def _answer(
    link: Link, parties: Iterable[str], topic: str, messages: Mapping[str, object]
) -> None:
    """Send each party its message, and None to those that are out."""
    for name in parties:
        await link.send(name, topic, messages.get(name))
