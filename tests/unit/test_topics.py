import pytest

from gateway.errors import UnreadableTopic
from gateway.topics import CommandTopic, Topics

TOPICS = Topics("edge/gw1")


def test_a_command_topic_is_read_back_as_it_was_written() -> None:
    topic = TOPICS.command("alice", "pump-7", "configure")
    assert topic == "edge/gw1/cmd/alice/pump-7/configure"
    assert TOPICS.parse_command(topic) == CommandTopic("alice", "pump-7", "configure")


@pytest.mark.parametrize(
    "topic",
    [
        "edge/gw1/cmd",
        "edge/gw1/cmd/alice",
        "edge/gw1/cmd/alice/pump-7",
        "edge/gw1/cmd/alice/pump-7/",
        "edge/gw1/cmd//pump-7/report",
        "edge/gw1/cmd/alice/pump-7/report/more",
        "edge/gw1/cmd/alice/pump 7/report",
        "edge/gw1/cmd/alice/../report",
        "edge/gw1/cmd/alice/рump-7/report",
        "edge/gw1/cmd/alice/pump-7\n/report",
        "other/gw1/cmd/alice/pump-7/report",
    ],
)
def test_a_topic_that_names_no_actor_device_or_command_is_unreadable(topic: str) -> None:
    with pytest.raises(UnreadableTopic):
        TOPICS.parse_command(topic)


@pytest.mark.parametrize(
    ("topic", "allowed"),
    [
        ("edge/gw1/ack/alice/pump-7", True),
        ("edge/gw1/ack/alice/my/own/inbox", True),
        ("edge/gw1/ack/alice/", False),
        ("edge/gw1/ack/alice", False),
        ("edge/gw1/ack/alice2/x", False),
        ("edge/gw1/ack/bob/pump-7", False),
        ("edge/gw1/cmd/valve-2/valve-2/report", False),
        ("edge/gw1/ack/alice/+", False),
        ("edge/gw1/ack/alice/x/#", False),
        ("edge/gw1/ack/alice/" + "/".join("x" * 32), True),
        ("edge/gw1/ack/alice/" + "/".join("x" * 33), False),
        ("edge/gw1/ack/alice/" + "x" * 512, True),
        ("edge/gw1/ack/alice/" + "x" * 513, False),
        ("edge/gw1/ack/alice/x\x01", False),
        ("edge/gw1/ack/alice/x\uffff", False),
    ],
)
def test_an_answer_goes_only_into_the_actors_own_subtree(topic: str, allowed: bool) -> None:  # noqa: FBT001
    assert TOPICS.may_answer_on(topic, "alice") is allowed
