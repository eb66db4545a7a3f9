"""Which pictures show the same part: by their time, with gaps in the cameras' numbers, and never by guessing."""

import random
from collections import deque
from dataclasses import dataclass

import pytest

from edge.capture.group.pairing import Head, Pairing

MS = 1_000_000
APART, PATIENCE = 20 * MS, 80 * MS
HERE = (False, False)


def pairing():
    return Pairing(2, APART, PATIENCE)


def at(ms, gap=False):
    return Head(ms * MS, gap)


def test_pictures_of_one_moment_are_a_part():
    part = pairing().decide([at(100), at(112)], 112 * MS, HERE)
    assert part.taken == (True, True) and not part.doubt and part.unexplained == (False, False)


def test_a_missing_picture_is_waited_for_and_then_its_camera_is_named():
    pairs = pairing()
    assert pairs.decide([at(100), None], 179 * MS, HERE) is None
    part = pairs.decide([at(100), None], 180 * MS, HERE)
    assert part.taken == (True, False) and part.unexplained == (False, True)


def test_nobody_waits_for_a_camera_that_is_lost():
    part = pairing().decide([at(100), None], 101 * MS, (False, True))
    assert part.taken == (True, False)


def test_a_gap_stands_for_its_part_and_shifts_nothing():
    pairs = pairing()
    missed = pairs.decide([at(100), at(200, gap=True)], 201 * MS, HERE)
    assert missed.taken == (True, True)
    following = pairs.decide([at(200), at(200)], 201 * MS, HERE)
    assert following.taken == (True, True) and not following.doubt


def test_a_part_that_no_camera_has_a_picture_of_is_a_part():
    part = pairing().decide([at(200, gap=True), at(203, gap=True)], 204 * MS, HERE)
    assert part.taken == (True, True)


def test_after_an_unexplained_loss_nothing_is_believed_until_all_were_silent():
    pairs = pairing()
    assert pairs.decide([at(100), at(130)], 130 * MS, HERE).unexplained == (False, True)
    assert pairs.decide([at(131), at(130)], 131 * MS, HERE).doubt
    assert pairs.decide([at(170), at(170)], 170 * MS, HERE).doubt
    assert not pairs.decide([at(250), at(250)], 250 * MS, HERE).doubt


def test_a_picture_that_comes_after_its_verdict_is_no_part():
    pairs = pairing()
    pairs.decide([at(100), None], 180 * MS, HERE)
    # its own moment was 100: the machine was busy
    late = pairs.decide([None, at(170)], 250 * MS, HERE)
    assert late.late and late.taken == (False, True)
    assert not pairs.decide([at(200), at(200)], 200 * MS, HERE).doubt


def test_a_gap_that_comes_after_its_part_was_given_up_explains_it():
    pairs = pairing()
    pairs.decide([at(100), None], 180 * MS, HERE)
    assert pairs.decide([at(170), at(172, gap=True)], 172 * MS, HERE).late
    assert not pairs.decide([at(170), at(172)], 172 * MS, HERE).doubt


def test_a_camera_that_was_lost_owes_nothing():
    pairs = pairing()
    pairs.decide([at(100), None], 101 * MS, (False, True))
    assert not pairs.decide([at(150), at(151)], 151 * MS, HERE).doubt


@dataclass(frozen=True)
class Sent:
    """What a camera sends: of which pulse, when it is stamped, and whether it is a gap."""

    pulse: int
    at_ns: int
    gap: bool


def camera_stream(chance, pulses_ns, lost, ignored, late):
    """What one camera sends of these pulses, in the order in which it comes."""
    sent, gaps, newest = [], [], 0
    for pulse, pulse_ns in enumerate(pulses_ns):
        luck = chance.random()
        if luck < lost:
            gaps.append(pulse)
            continue
        if luck < lost + ignored:
            continue
        delay_ns = chance.randrange(8 * MS)
        if chance.random() < late:
            delay_ns = chance.randrange(PATIENCE - MS)
        newest = max(newest + 1, pulse_ns + delay_ns)
        sent += [Sent(gap, newest, True) for gap in gaps] + [Sent(pulse, newest, False)]
        gaps = []
    return deque(sent)


def decided(streams, end_ns):
    """(part, what was taken) of streams that come as time passes; as a supply asks, with one head of each camera."""
    pairs, parts, now_ns = Pairing(len(streams), APART, PATIENCE), [], 0
    here = (False,) * len(streams)
    while now_ns < end_ns:
        heads = [stream[0] if stream and stream[0].at_ns <= now_ns else None for stream in streams]
        part = pairs.decide([None if head is None else Head(head.at_ns, head.gap) for head in heads], now_ns, here)
        if part is None:
            now_ns += MS // 2
            continue
        taken = [stream.popleft() if of else None for stream, of in zip(streams, part.taken, strict=True)]
        parts.append((part, taken))
    return parts


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("cameras", [2, 3])
def test_pictures_of_two_parts_are_never_believed(seed, cameras):
    """Every camera loses pictures; one of them also misses triggers and is late, which no number shows."""
    chance = random.Random(100 * cameras + seed)
    pulses_ns, now_ns = [], 0
    for _ in range(150):
        now_ns += chance.choice((50, 60, 70, 300)) * MS
        pulses_ns.append(now_ns)
    bad = chance.randrange(cameras)
    unseen = [(0.05, 0.08) if camera == bad else (0.0, 0.0) for camera in range(cameras)]
    streams = [camera_stream(chance, pulses_ns, 0.05, *each) for each in unseen]
    parts = decided(streams, now_ns + 1000 * MS)
    whole = [
        {each.pulse for each in taken}
        for part, taken in parts
        if not part.doubt and not part.late and all(each is not None and not each.gap for each in taken)
    ]
    assert [pulses for pulses in whole if len(pulses) > 1] == []
    assert len(whole) > 40


def test_without_losses_every_part_has_its_verdict_and_its_pictures():
    chance = random.Random(5)
    pulses_ns = [50 * MS * pulse for pulse in range(1, 200)]
    parts = decided([camera_stream(chance, pulses_ns, 0, 0, 0) for _ in range(4)], 20_000 * MS)
    assert [{each.pulse for each in taken} for _, taken in parts] == [{pulse} for pulse in range(199)]
    assert not any(part.doubt or part.late for part, _ in parts)


def test_losses_that_the_numbers_explain_cost_their_own_part_alone():
    chance = random.Random(6)
    pulses_ns = [50 * MS * pulse for pulse in range(1, 400)]
    parts = decided([camera_stream(chance, pulses_ns, 0.1, 0, 0) for _ in range(2)], 40_000 * MS)
    told = [min(each.pulse for each in taken if each is not None) for part, taken in parts if not part.late]
    assert told == sorted(set(told)) and len(told) == len(pulses_ns)
    assert all(any(each is None or each.gap for each in taken) for part, taken in parts if part.doubt)
