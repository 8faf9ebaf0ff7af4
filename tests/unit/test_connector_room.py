"""Room for what comes in: bounds by number and by bytes, for one connection and for all, and everything freed again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.room import Limits, NoRoomError, Place, Room


def test_a_connection_gets_its_share_of_places_and_the_others_the_rest() -> None:
    room = Room(Limits(deliveries=10, bytes=1000, share=0.5))
    noisy = [room.enter("noisy") for _ in range(5)]
    with pytest.raises(NoRoomError, match="5 deliveries of noisy"):
        room.enter("noisy")
    quiet = [room.enter("quiet") for _ in range(5)]
    with pytest.raises(NoRoomError, match="10 deliveries"):
        room.enter("third")
    noisy.pop().leave()
    room.enter("third")
    quiet.pop().leave()
    with room.enter("noisy"):
        pass
    assert room.bytes == 0


def test_a_connection_gets_its_share_of_bytes() -> None:
    room = Room(Limits(deliveries=100, bytes=1000, share=0.5))
    first, second = room.enter("noisy", 300), room.enter("noisy")
    with pytest.raises(NoRoomError, match="300 bytes of noisy"):
        second.hold(201)
    second.hold(200)
    quiet = room.enter("quiet", 400)
    with pytest.raises(NoRoomError, match="900 bytes wait"):
        room.enter("third", 101)
    assert room.bytes == 900
    for place in (first, second, quiet):
        place.leave()
    assert room.bytes == 0


def test_a_body_larger_than_the_limits_still_comes_in_alone() -> None:
    room = Room(Limits(deliveries=100, bytes=1000, share=0.5))
    with room.enter("one", 5000) as large:
        with pytest.raises(NoRoomError):
            room.enter("two", 1)
        large.hold(6000)
    assert room.bytes == 0


def test_a_place_that_finds_no_room_leaves_none_behind() -> None:
    room = Room(Limits(deliveries=2, bytes=1000, share=1.0))
    with room.enter("one", 900):
        for _ in range(10):
            with pytest.raises(NoRoomError):
                room.enter("one", 200)
        with room.enter("one", 100):
            assert room.bytes == 1000


@pytest.mark.parametrize("wrong", [{"deliveries": 0}, {"bytes": 0}, {"share": 0.0}, {"share": 1.1}])
def test_limits_that_leave_no_room_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="leaves no room"):
        Limits(**wrong)  # type: ignore[arg-type]  # the values are the point


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 400), st.booleans())))
def test_the_bounds_hold_whatever_comes_and_goes(steps: list[tuple[str, int, bool]]) -> None:
    room = Room(Limits(deliveries=6, bytes=1000, share=0.5))
    inside: list[tuple[str, int]] = []
    places: list[Place] = []
    for key, size, leaves in steps:
        if leaves and places:
            places.pop(0).leave()
            inside.pop(0)
            continue
        try:
            places.append(room.enter(key, size))
        except NoRoomError:
            continue
        inside.append((key, size))
        mine = [held for name, held in inside if name == key]
        assert len(inside) <= 6
        assert len(mine) <= 3
        assert sum(mine) <= 500
        assert room.bytes == sum(held for _, held in inside) <= 1000
    for place in places:
        place.leave()
    assert room.bytes == 0
