"""Which pictures become samples of good parts, and what is said of the others."""

import cv2
import numpy as np
import pytest

from calibration.samples.contact_sheet import rejection_sheet
from calibration.samples.screening import Reason, Sample, Screener, read_samples
from calibration.samples.statistics import statistics_from_bytes
from edge.core.errors import UsageError
from tests.fakes import write_picture


def screen(samples, reference=None, **options):
    screener = Screener(reference, **options)
    for sample in samples:
        screener.add(sample)
    return screener.screening()


def part(seed: int, height: int = 240, width: int = 320) -> np.ndarray:
    """A bright disc with a ring on a grey plate, grained, never twice at quite the same place."""
    random = np.random.default_rng(seed)
    picture = np.full((height, width, 3), (90, 95, 100), np.uint8)
    centre = (width // 2 + int(random.integers(-6, 7)), height // 2 + int(random.integers(-6, 7)))
    cv2.circle(picture, centre, height // 4, (170, 190, 205), -1)
    cv2.circle(picture, centre, height // 8, (60, 70, int(random.integers(60, 90))), 9)
    grain = cv2.resize(random.normal(0, 8, (12, 16)), (width, height), interpolation=cv2.INTER_CUBIC)
    picture = np.clip(picture + grain[..., None], 0, 255).astype(np.uint8)
    return with_noise(picture, seed)


def with_noise(picture: np.ndarray, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 3, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def cross(seed: int) -> np.ndarray:
    """Another product: a cross where the disc would be, as bright."""
    picture = np.full((240, 320, 3), (90, 95, 100), np.uint8)
    cv2.line(picture, (40, 40 + seed % 5), (280, 200), (170, 190, 205), 30)
    cv2.line(picture, (40, 200), (280, 40 + seed % 7), (170, 190, 205), 30)
    return with_noise(picture, seed)


def plate(seed: int) -> np.ndarray:
    return with_noise(np.full((240, 320, 3), (90, 95, 100), np.uint8), seed)


def good_ones(count: int = 24) -> list[Sample]:
    return [Sample(f"part{seed}", part(seed)) for seed in range(count)]


def verdict_on(picture: np.ndarray | None, trouble: str = "", among: int = 24):
    """What is said of one more picture among good parts, every one of which is accepted."""
    result = screen([*good_ones(among), Sample("odd one", picture, trouble)])
    assert not [each for each in result.rejected if each.name != "odd one"]
    return result.rejected[0] if result.rejected else None


def test_good_parts_are_accepted_in_their_order():
    result = screen(good_ones())
    assert result.accepted == tuple(f"part{seed}" for seed in range(24))
    assert result.summary() == "24 accepted, 0 rejected"


def test_a_picture_that_is_no_sample_is_turned_away_with_the_numbers(subtests):
    for picture, reason, words in [
        (cv2.GaussianBlur(part(100), (0, 0), 6), Reason.BLURRED, "focus is"),
        (plate(100), Reason.EMPTY, "stands out from the background by"),
        (part(3), Reason.DUPLICATE, "the same pixels as part3"),
        (with_noise(part(3), 7), Reason.DUPLICATE, "shows what part3 shows"),
        (np.clip(part(3) * 1.03, 0, 255).astype(np.uint8), Reason.DUPLICATE, "grey levels apart"),
        ((part(100) * 0.6).astype(np.uint8), Reason.INCONSISTENT, "brightness"),
        (cross(0), Reason.INCONSISTENT, "is usual"),
        (part(100, 120, 160), Reason.WRONG_SIZE, "160x120 px, most are 320x240 px"),
        (np.zeros((240, 320, 3), np.uint8), Reason.BLACK, "grey level 8"),
        (np.full((240, 320, 3), 255, np.uint8), Reason.SATURATED, "above grey level 250"),
    ]:
        with subtests.test(reason=reason, words=words):
            rejected = verdict_on(picture)
            assert rejected is not None and rejected.reason is reason
            assert words in rejected.detail and any(letter.isdigit() for letter in rejected.detail)


def test_a_part_a_little_darker_and_moved_is_still_a_sample():
    moved = np.roll((part(100) * 0.95).astype(np.uint8), 5, 1)
    assert verdict_on(moved) is None


def test_files_that_cannot_be_read_are_named_and_do_not_stop_the_rest(tmp_path):
    whole = [write_picture(tmp_path / f"{seed}.png", part(seed)) for seed in range(3)]
    cut = tmp_path / "cut.png"
    cut.write_bytes(whole[0].read_bytes()[:500])
    result = screen(read_samples([*whole, cut, tmp_path / "gone.png"]))
    assert len(result.accepted) == 3
    assert [str(each.reason) for each in result.rejected] == ["unreadable", "unreadable"]
    assert "cut off after 500 bytes" in result.rejected[0].detail
    assert "No such file" in result.rejected[1].detail


def test_a_third_of_strange_pictures_does_not_make_the_good_ones_strange():
    strange = [Sample(f"cross{seed}", cross(seed)) for seed in range(11)]
    result = screen([*strange, *good_ones()])
    assert {each.name for each in result.suspicious} == {sample.name for sample in strange}
    assert len(result.accepted) == 24


def test_parts_of_many_sizes_are_no_reason_to_turn_any_away():
    samples = [Sample(f"{seed}", part(seed, 200 + 2 * seed, 300 + seed)) for seed in range(12)]
    assert Reason.WRONG_SIZE not in screen(samples).counts()


def test_the_same_picture_again_and_again_is_one_sample():
    result = screen([Sample(str(number), part(0)) for number in range(30)])
    assert result.accepted == ("0",)
    assert result.counts() == {Reason.DUPLICATE: 29}


def test_too_few_samples_say_nothing_about_each_other():
    result = screen([*good_ones(4), Sample("cross", cross(0))])
    assert result.rejected == () and result.statistics is None


def test_only_the_inspected_region_is_judged():
    samples = good_ones()
    cluttered = part(100)
    cluttered[:, 280:] = 255
    assert screen([*samples, Sample("cluttered", cluttered)]).rejected
    region = (40, 0, 240, 240)
    assert not screen([*samples, Sample("cluttered", cluttered)], rectangle=region).rejected
    beyond = screen(samples, rectangle=(200, 0, 240, 240))
    assert beyond.counts() == {Reason.WRONG_SIZE: 24}


def test_samples_of_another_product_are_seen_by_the_statistics_of_known_ones():
    known = screen(good_ones()).statistics
    assert known is not None
    others = screen([Sample(str(seed), cross(seed)) for seed in range(12)], known)
    assert others.accepted == () and others.counts() == {Reason.OTHER_PRODUCT: 12}
    assert "correlation" in others.rejected[0].detail


def test_the_known_product_in_other_light_and_place_is_no_other_product():
    known = screen(good_ones()).statistics
    changed = [
        Sample(str(seed), np.roll(np.clip(part(seed) * 0.75 + 10, 0, 255).astype(np.uint8), (9, -12), (0, 1)))
        for seed in range(50, 62)
    ]
    assert screen(changed, known).rejected == ()


def test_known_parts_of_another_size_are_told_with_both_sizes():
    known = screen(good_ones()).statistics
    rejected = screen([Sample("big", part(0, 480, 640))], known).rejected
    assert str(rejected[0]) == "wrong size: 640x480 px, known good parts have 320x240 px"


def test_statistics_survive_their_file_and_foreign_files_are_refused():
    known = screen(good_ones()).statistics
    assert known is not None
    read = statistics_from_bytes(known.to_bytes())
    assert vars(read).keys() == vars(known).keys()
    for name, value in vars(known).items():
        np.testing.assert_array_equal(getattr(read, name), value, err_msg=name)
    with pytest.raises(UsageError, match="not the statistics of samples"):
        statistics_from_bytes(b"not an archive")


def test_on_a_live_line_a_picture_is_judged_by_those_before_it():
    screener = Screener()
    for sample in good_ones(10):
        assert screener.add(sample, at_once=True) is None
    rejected = screener.add(Sample("cross", cross(0)), at_once=True)
    assert rejected is not None and rejected.reason is Reason.INCONSISTENT
    assert screener.turned_away == (rejected,)
    result = screener.screening()
    assert result.rejected == (rejected,) and len(result.accepted) == 10


def test_a_sample_taken_back_is_no_longer_compared_with():
    screener = Screener()
    for sample in good_ones(5):
        screener.add(sample)
    screener.forget("part3")
    assert screener.add(Sample("once more", part(3))) is None
    assert screener.add(Sample("again", part(4))) is not None
    assert screener.screening().accepted == ("part0", "part1", "part2", "part4", "once more")


def test_the_sheet_shows_suspicions_first_beside_good_parts():
    samples = [*good_ones(), Sample("again", part(3)), Sample("plate", plate(100))]
    pictures = {sample.name: sample.picture for sample in samples}
    result = screen(samples)
    sheet = rejection_sheet(result.rejected, result.accepted[:1], lambda name: pictures[name])
    cell = sheet.shape[1] // 5
    assert sheet.shape[0] < 2 * cell
    middle = [sheet[40:140, cell * number + cell // 2 - 10 : cell * number + cell // 2 + 10] for number in range(4)]
    # accepted, the empty plate, the duplicate, and nothing more
    spread = [float(np.std(strip.astype(np.float32))) for strip in middle]
    assert spread[1] < 5 < min(spread[0], spread[2]) and spread[3] == 0


def test_the_sheet_bears_a_picture_that_is_gone_and_a_name_in_another_script():
    result = screen([Sample("Teil-äöü-部品.png", None, "damaged")])
    assert rejection_sheet(result.rejected, (), lambda name: None).any()
