"""A reference is found where a plain search over every place and turn finds it."""

from __future__ import annotations

import math
import threading

import cv2
import numpy as np
import pytest

from edge.core.datatypes import Pose
from edge.preprocessing.alignment import placed_view
from edge.preprocessing.matching import Sought, best_turn, correlation, even_border, halved, transform, warped
from edge.preprocessing.regions import FieldOfView

STEPS_DEG = (3.0, 1.5)


def picture(seed: int, shape: tuple[int, int]) -> np.ndarray:
    """Soft blots, so that the best place can be told between places; float32, 0..255."""
    noise = np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), max(1.5, min(shape) / 20))
    return np.asarray(np.clip(128 + 50 * soft / soft.std(), 0, 255), np.float32)


def searched_and_reference(
    seed: int, shape: tuple[int, int], margin: tuple[int, int], shift: tuple[float, float], turn_deg: float
) -> tuple[np.ndarray, np.ndarray]:
    searched = picture(seed, (shape[0] + 2 * margin[0], shape[1] + 2 * margin[1]))
    inside = transform(turn_deg, 1.0, shift, shape) + np.array([[0, 0, margin[1]], [0, 0, margin[0]]])
    return searched, np.asarray(warped(searched, inside, shape), np.float32)


def plain_search(
    searched: np.ndarray, reference: np.ndarray, most_deg: float, steps_deg: tuple[float, float] = STEPS_DEG
) -> tuple[float, tuple[float, float], float]:
    """(turn, shift, correlation): every place at every turn, first on half the picture and then on the whole."""

    def matched(of: np.ndarray, wanted: np.ndarray, turn_deg: float) -> tuple[float, tuple[float, float]]:
        turned = warped(of, transform(turn_deg, 1.0, (0.0, 0.0), of.shape), of.shape)
        response = cv2.matchTemplate(turned, wanted, cv2.TM_CCOEFF_NORMED)
        _, best, _, (column, row) = cv2.minMaxLoc(response)
        across = column + vertex_at(response[row], column) - (response.shape[1] - 1) / 2
        down = row + vertex_at(response[:, column], row) - (response.shape[0] - 1) / 2
        turn = math.radians(turn_deg)
        return best, (
            math.cos(turn) * across - math.sin(turn) * down,
            math.sin(turn) * across + math.cos(turn) * down,
        )

    coarse_deg, fine_deg = steps_deg
    steps = int(most_deg // coarse_deg)
    turns = [coarse_deg * step for step in range(-steps, steps + 1)]
    coarse = max(turns, key=lambda turn: matched(halved(searched), halved(reference), turn)[0])
    near = [matched(searched, reference, coarse + step)[0] for step in (-fine_deg, 0.0, fine_deg)]
    turn = coarse + fine_deg * vertex(*near) if most_deg > 0 else 0.0
    turn = min(max(turn, -most_deg), most_deg)
    best, shift = matched(searched, reference, turn)
    return turn, shift, best


def vertex_at(values: np.ndarray, place: int) -> float:
    return vertex(*(float(value) for value in values[place - 1 : place + 2])) if 0 < place < len(values) - 1 else 0.0


def vertex(before: float, at: float, after: float) -> float:
    curvature = before - 2 * at + after
    return min(max((before - after) / (2 * curvature), -0.5), 0.5) if curvature < 0 else 0.0


@pytest.mark.parametrize(
    ("shape", "margin", "most_deg"),
    [((88, 128), (14, 20), 10.0), ((71, 113), (11, 17), 30.0), ((33, 128), (5, 20), 10.0), ((48, 64), (1, 3), 0.0)],
)
def test_three_looks_find_what_a_search_of_every_place_finds(shape, margin, most_deg):
    sought_moves = np.random.default_rng(7)
    for seed in range(12):
        shift = tuple(sought_moves.uniform(-0.95, 0.95, 2) * (margin[1], margin[0]))
        turn_deg = float(sought_moves.uniform(-0.95, 0.95) * most_deg)
        searched, reference = searched_and_reference(seed, shape, margin, shift, turn_deg)
        expected_deg, expected_shift, expected = plain_search(searched, reference, most_deg)
        found, best = best_turn(searched, Sought(reference, margin), most_deg, STEPS_DEG)
        assert best == pytest.approx(expected, abs=1e-4), seed
        assert found == pytest.approx(transform(expected_deg, 1.0, expected_shift, shape), abs=0.02), seed


def test_what_lies_at_the_end_of_the_margin_is_found_there():
    for shift in [(20.0, 14.0), (-20.0, -14.0), (20.0, -14.0)]:
        searched, reference = searched_and_reference(3, (88, 128), (14, 20), shift, 0.0)
        found, best = best_turn(searched, Sought(reference, (14, 20)), 0.0, STEPS_DEG)
        assert found == pytest.approx(transform(0.0, 1.0, shift, (88, 128)), abs=1e-3)
        assert best == pytest.approx(1.0, abs=1e-4)


def test_a_place_that_the_smaller_picture_shows_wrongly_is_followed():
    for turn_deg in [0.0, 20.0]:
        searched, reference = searched_and_reference(3, (88, 128), (14, 20), (9.0, -7.0), turn_deg)
        (match,) = Sought(reference, (14, 20)).whole.matches(searched, [turn_deg], (1.0, 0.0))
        assert match.shift == pytest.approx((9.0, -7.0), abs=0.3)
        assert match.correlation > 0.99


def test_a_turn_that_the_smaller_picture_shows_wrongly_is_followed():
    # steps so small that a quarter of the size cannot tell them apart
    steps_deg = (0.25, 0.125)
    for seed in range(6):
        searched, reference = searched_and_reference(seed, (88, 128), (14, 20), (5.3, -4.6), 1.6)
        expected_deg, _, expected = plain_search(searched, reference, 3.0, steps_deg)
        found, best = best_turn(searched, Sought(reference, (14, 20)), 3.0, steps_deg)
        assert math.degrees(math.atan2(found[1, 0], found[0, 0])) == pytest.approx(expected_deg, abs=0.02), seed
        assert best == pytest.approx(expected, abs=1e-4), seed


def test_an_even_picture_matches_nothing():
    reference = picture(1, (88, 128))
    for level in (0.0, 255.0):
        even = np.full((116, 168), level, np.float32)
        _, best = best_turn(even, Sought(reference, (14, 20)), 10.0, STEPS_DEG)
        assert abs(best) < 0.01
        assert abs(correlation(even[:88, :128], reference)) < 0.01
    _, best = best_turn(picture(2, (116, 168)), Sought(np.full((88, 128), 9.0, np.float32), (14, 20)), 10.0, STEPS_DEG)
    assert abs(best) < 0.01


def test_the_correlation_is_opencv_s():
    for seed, shape in enumerate([(88, 128), (1, 7), (33, 5)]):
        one, other = picture(seed, shape), picture(seed + 10, shape)
        expected = float(cv2.matchTemplate(one, other, cv2.TM_CCOEFF_NORMED)[0, 0])
        assert correlation(one, other) == pytest.approx(expected, abs=1e-5)
        assert correlation(one, one) == pytest.approx(1.0, abs=1e-5)


def frame(seed: int, height: int = 97, width: int = 131) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def pose(turn_deg: float) -> Pose:
    matrix = transform(turn_deg, 1.03, (6.5, -4.25), (61, 83)).astype(np.float64)
    return Pose(tuple(float(value) for value in matrix.ravel()), 1.0, turn_deg, 1.03)


def plainly_placed(image: np.ndarray, turn_deg: float) -> np.ndarray:
    image = image.copy()
    even_border(image)
    matrix = np.array(pose(turn_deg).matrix).reshape(2, 3)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, matrix, (83, 61), flags=flags, borderMode=cv2.BORDER_REPLICATE)


def test_a_view_is_placed_as_one_warp_of_three_channels_would():
    view = FieldOfView(10, 8, 83, 61)
    seen = [placed_view(image, view, pose(turn)) for image, turn in ((frame(1), 7.0), (frame(2, 80, 90), -5.0))]
    # the first one is still whole when the second has been made
    assert np.array_equal(seen[0], plainly_placed(frame(1), 7.0))
    assert np.array_equal(seen[1], plainly_placed(frame(2, 80, 90), -5.0))


@pytest.mark.parametrize(
    "shift", [(10, 8), (1, 1), (0, 8), (10, 0), (47, 35), (48, 35), (47, 36), (-20, -9), (60, 50), (-90, 99), (140, 1)]
)
def test_a_shifted_view_is_what_a_warp_to_the_nearest_pixel_gives(shift):
    """Within the frame, at its border, beyond it and wholly outside; the second shift is of no whole pixels."""
    evened = frame(1)
    even_border(evened)
    for left, top in (shift, (shift[0] + 0.3, shift[1] - 0.4)):
        matrix = np.array([[1.0, 0.0, left], [0.0, 1.0, top]])
        expected = warped(evened, matrix, (61, 83), cv2.INTER_NEAREST)
        image = frame(1)
        seen = placed_view(image, FieldOfView(10, 8, 83, 61), Pose(tuple(matrix.ravel()), 1.0, 0.0, 1.0))
        assert np.array_equal(seen, expected)
        assert np.array_equal(image, frame(1))


def test_several_threads_place_their_own_views():
    view = FieldOfView(10, 8, 83, 61)
    wrong: list[int] = []

    def place(seed: int) -> None:
        image, expected = frame(seed), plainly_placed(frame(seed), 2.0 * seed + 1)
        wrong.extend(
            seed for _ in range(50) if not np.array_equal(placed_view(image, view, pose(2.0 * seed + 1)), expected)
        )

    threads = [threading.Thread(target=place, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_noise_of_the_border_does_not_become_streaks_beyond_the_frame():
    """A shift by 40 px over a ground with noise of 4 levels."""
    noise = np.random.default_rng(0).normal(0, 4, (192, 256, 3))
    image = np.clip(128 + noise, 0, 255).astype(np.uint8)
    for pose in (Pose((1, 0, 40, 0, 1, 40), 1.0, 0.0, 1.0), Pose((0.999, 0.035, 40, -0.035, 0.999, 40), 1.0, 2.0, 1.0)):
        view = placed_view(image, FieldOfView(0, 0, 256, 192), pose)
        beyond, inside = view[160:, 60:180].astype(float), view[40:100, 60:180].astype(float)
        assert beyond.std() < 2
        assert abs(beyond.mean() - inside.mean()) < 1


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 300, 4), (300, 3, 3), (64, 64, 3)])
def test_an_even_border_is_the_mean_of_what_lies_along_it(shape):
    ramp = np.broadcast_to(np.linspace(0, 200, shape[1])[None, :, None], shape).astype(np.uint8)
    evened = ramp.copy()
    even_border(evened)
    assert np.array_equal(evened[1:-1, 1:-1], ramp[1:-1, 1:-1])
    # a ramp is its own mean but at its ends
    assert np.abs(evened.astype(int) - ramp.astype(int)).max() <= 200 / shape[1] * (shape[1] // 64 + 1) * 2 + 1
