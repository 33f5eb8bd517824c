from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from gateway.ids import event_id, event_id_range, is_command_id, is_name, new_id

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,20}", fullmatch=True)
COMMAND_IDS = st.text(min_size=1, max_size=64).filter(is_command_id) | st.builds(new_id)


def test_a_name_is_one_ascii_topic_level() -> None:
    assert all(map(is_name, ("pump-7", "A", "a.b:c_d", "0" * 64)))
    assert not any(map(is_name, ("", "-a", ".a", "a/b", "a+", "a#", "pump-7\n", "a b", "рump", "0" * 65)))


def test_a_command_id_is_short_and_printable() -> None:
    assert all(map(is_command_id, ("1", "a b", "é", "x" * 64)))
    assert not any(map(is_command_id, ("", "x" * 65, "a\n", "\x00", "\u202e")))


@given(NAMES, NAMES, COMMAND_IDS, st.integers(0, 9))
def test_an_event_id_is_a_version_8_uuid_within_the_range_of_its_command_id(
    actor: str, device: str, command_id: str, index: int
) -> None:
    key = event_id(actor, device, command_id, index)
    low, high = event_id_range(command_id)
    assert key.version == 8
    assert key.variant == UUID(int=2 << 62).variant
    assert low <= key <= high
    assert key == event_id(actor, device, command_id, index)


@given(st.lists(st.tuples(NAMES, NAMES, COMMAND_IDS, st.integers(0, 3)), unique=True, min_size=2))
def test_event_ids_differ_wherever_actor_device_command_or_index_differ(
    parts: list[tuple[str, str, str, int]],
) -> None:
    assert len({event_id(*part) for part in parts}) == len(parts)


def test_time_ordered_command_ids_give_event_ids_that_lie_together() -> None:
    first, second = new_id(), new_id()
    assert event_id("a", "a", first, 0).bytes[:4] == event_id("b", "b", second, 0).bytes[:4]
    assert UUID(first).version == 7
