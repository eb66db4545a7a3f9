"""The camera's count shows what never came: also over the wrap at 16 bits, and beside incomplete buffers."""

import pytest

from edge.capture.genicam.frame_ids import FrameIds, Gap


def gaps(*ids):
    """What is missing before each id; an id of -1 is an incomplete buffer without one, a text one with."""
    counted = FrameIds()
    found = []
    for each in ids:
        if isinstance(each, str):
            found.append(counted.gap_before(int(each), complete=False))
        else:
            found.append(counted.gap_before(None if each < 0 else each, complete=each >= 0))
    return [None if gap is None else gap.count for gap in found]


@pytest.mark.parametrize(
    ("ids", "missing"),
    [
        ((7, 8, 9), (None, None, None)),
        ((7, 9), (None, 1)),
        ((7, 2000), (None, 1992)),
        # cameras of GigE Vision leave 0 out
        ((65534, 65535, 1, 2), (None, None, None, None)),
        ((65530, 3), (None, 7)),
        ((65535, 0, 1), (None, None, None)),
        # a camera that has used 0 uses it again
        ((0, 30000, 60000, 65534, 1), (None, 29999, 29999, 5533, 2)),
        # 64 bits have no wrap
        ((65535, 65536, 65538), (None, None, 1)),
        # an incomplete buffer is one of the missing ones
        ((7, -1, 9), (None, None, None)),
        ((7, -1, 10), (None, None, 1)),
        ((7, "8", 9), (None, None, None)),
        ((7, "9", 10), (None, 1, None)),
        # its header was lost, and it carries that of an earlier picture
        ((65445, "65436", 65447), (None, None, None)),
    ],
)
def test_what_never_came_is_counted(ids, missing):
    assert gaps(*ids) == list(missing)


def test_a_count_that_jumps_back_is_told_as_a_gap_of_unknown_size():
    ids = FrameIds()
    assert ids.gap_before(500, complete=True) is None
    assert ids.gap_before(1, complete=True) == Gap(None, 500, 1)
    assert ids.gap_before(2, complete=True) is None


@pytest.mark.parametrize("frame_id", [0, None])
def test_a_camera_that_does_not_count_is_noticed(frame_id):
    ids = FrameIds()
    assert [ids.gap_before(frame_id, complete=True) for _ in range(3)] == [None, None, None]
    assert ids.useless


def test_a_camera_that_repeats_a_number_now_and_then_counts_all_the_same():
    ids = FrameIds()
    for frame_id in (1, 1, 2, 2, 3, 3):
        ids.gap_before(frame_id, complete=True)
    assert not ids.useless
