from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from matplotlib.figure import Figure

from refimpl.notebook import diagrams


def message(sender, receiver, topic, size):
    return SimpleNamespace(sender=sender, receiver=receiver, topic=topic, bytes=size)


MESSAGES = [message("a 1", "server", "examples", 38_100), message("server", "a 1", "model", 9_700)]


@pytest.fixture
def drawn(monkeypatch):
    axes = Figure().subplots()

    @contextmanager
    def figure(alt, width, height):
        yield axes

    monkeypatch.setattr(diagrams, "figure", figure)
    return axes


def test_each_message_is_an_arrow_from_sender_to_receiver_and_time_runs_downwards(drawn):
    diagrams.sequence(MESSAGES, ["a 1", "server"], alt="two messages")
    arrows = [text for text in drawn.texts if text.get_text() == ""]
    assert [(arrow.xyann, arrow.xy) for arrow in arrows] == [((0, 1), (1, 1)), ((1, 2), (0, 2))]
    bottom, top = drawn.get_ylim()
    assert bottom > top


def test_labels_say_topic_and_size_beside_all_arrows(drawn):
    diagrams.sequence(MESSAGES, ["a 1", "server"], alt="two messages")
    labels = {text.get_text(): text.get_position()[0] for text in drawn.texts if "kB" in str(text)}
    assert set(labels) == {"examples, 38.1 kB", "model, 9.7 kB"}
    assert all(x > 1 for x in labels.values())  # the server, the last party, stands at 1


def test_a_note_takes_a_row_of_its_own_after_its_message(drawn):
    diagrams.sequence(MESSAGES, ["a 1", "server"], alt="x", notes={1: ("server", "train")})
    where = {text.get_text(): text.get_position() for text in drawn.texts}
    assert where["train"] == (1, 2)
    assert where["model, 9.7 kB"][1] == 3


def test_parties_and_notes_must_be_known(drawn):
    with pytest.raises(ValueError, match="server"):
        diagrams.sequence(MESSAGES, ["a 1"], alt="x")
    with pytest.raises(ValueError, match="b 2"):
        diagrams.sequence(MESSAGES, ["a 1", "server"], alt="x", notes={1: ("b 2", "train")})
