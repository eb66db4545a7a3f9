"""pixel_math.h through g++: against numbers worked out by hand, float64, and device_reference, bit for bit."""

import ctypes

import numpy as np
import pytest

from edge.kernels.cuda.parameters import Counters, PreprocessParameters, ReduceParameters, ResidualParameters, Result
from tests.edge.kernels import device_reference
from tests.edge.kernels.emulation import emulated_library

EVERY_HALF = np.arange(65536, dtype=np.uint16)


@pytest.fixture(scope="module")
def library():
    return ctypes.CDLL(str(emulated_library()))


@pytest.fixture(scope="module")
def over(library):
    """Calls a function of the header on every element."""

    def call(name: str, values: np.ndarray, result_type=np.float32) -> np.ndarray:
        values = np.ascontiguousarray(values)
        result = np.empty(values.shape, result_type)
        getattr(library, f"call_{name}")(
            ctypes.c_void_p(values.ctypes.data), ctypes.c_void_p(result.ctypes.data), ctypes.c_int(values.size)
        )
        return result

    return call


def units_apart(found: np.ndarray, exact: np.ndarray) -> float:
    """Largest distance in units in the last place."""
    return float((np.abs(found - exact) / np.spacing(exact.astype(np.float32))).max())


def test_the_exponential_is_right_to_two_units_and_equals_the_reference(over):
    x = np.linspace(-86, 60, 200_001, dtype=np.float32)
    found = over("exponential", x)
    assert units_apart(found, np.exp(x.astype(np.float64))) < 2
    assert np.array_equal(found, device_reference.exponential(x))


def test_the_exponential_at_its_ends(over):
    x = np.array([0, -88, -np.inf, np.nan], np.float32)
    assert np.array_equal(over("exponential", x), np.array([1, 0, 0, np.nan], np.float32), equal_nan=True)


def test_the_logarithm_is_right_and_equals_the_reference(over):
    value = np.concatenate([np.geomspace(1e-37, 1, 100_001), np.linspace(0.5, 1, 100_001)[:-1]]).astype(np.float32)
    found = over("logarithm", value)
    assert np.abs(found - np.log(value.astype(np.float64))).max() < 8e-6
    assert np.array_equal(found, device_reference.logarithm(value))


def test_powers_of_evidence():
    value = np.linspace(0, 1, 10_001).astype(np.float32)
    for exponent in [0, 0.5, 1, 2.5]:
        exact = value.astype(np.float64) ** exponent
        assert np.abs(device_reference.power(value, exponent) - exact).max() < 1e-6, exponent


def test_halves_become_floats_and_floats_halves_as_in_numpy(over):
    floats = over("float_of_half", EVERY_HALF)
    assert np.array_equal(floats, EVERY_HALF.view(np.float16).astype(np.float32), equal_nan=True)
    # every half, the middle between it and the next, and a little to either side
    finite = floats[np.isfinite(floats)]
    middles = (finite[:-1] + finite[1:]) / 2
    beside = np.nextafter(middles, np.float32(9e9)), np.nextafter(middles, np.float32(0))
    extremes = np.array([65519.9, 65520, 1e30, -1e30, 1e-30, np.inf], np.float32)
    near = np.concatenate([finite, middles, *beside, extremes])
    with np.errstate(over="ignore"):
        expected = near.astype(np.float16)
    assert np.array_equal(over("half_of", near, np.uint16).view(np.float16), expected)


def test_probability_by_hand(over):
    found = over("probability", np.array([0, 1e9, -1e9, np.log(3)], np.float32))
    assert np.allclose(found, [0.5, 1, 0, 0.75], atol=1e-7)


def test_evidence_in_16_bits_and_what_is_not_finite(over):
    evidence = np.array([0, 1, 0.5, 1.5, -1, np.nan, np.inf], np.float32)
    assert over("steps_of", evidence, np.uint16).tolist() == [0, 65534, 32767, 65534, 0, 65535, 65535]


@pytest.mark.parametrize(("count", "expected"), [(3, "cbaabccbaabccb"), (1, "aaaaaaaaaaaaaa")])
def test_borders_are_half_sample_symmetric_however_far_outside(library, count, expected):
    places = [library.call_reflected(place, count) for place in range(-3, 11)]
    assert "".join("abc"[place] for place in places) == expected


def test_errors_of_one_pixel_by_hand(library):
    # red 0.4 too much, green 0.2 too little, blue right, in -1..1: half of that in 0..1
    a, b = (ctypes.c_float * 3)(0.4, 0.0, 0.5), (ctypes.c_float * 3)(0.0, 0.2, 0.5)

    def error(**weights):
        out = ctypes.c_float()
        chosen = [ctypes.c_float(weights.get(name, 0)) for name in ("l1", "l2", "col")]
        library.call_pixel_error(a, b, *chosen, ctypes.byref(out))
        return out.value

    assert error(l1=1 / 6) == pytest.approx((0.2 + 0.1) / 3)
    assert error(l2=1 / 12) == pytest.approx((0.04 + 0.01) / 3)
    assert error(col=1 / 4) == pytest.approx(0.3**2 + 0.05**2)
    assert error(l1=1 / 6, col=1 / 4) == pytest.approx(0.1 + 0.0925)


def test_structure_of_equal_windows_is_equal_and_of_opposite_ones_is_not(library):
    def dissimilarity(*sums):
        out = ctypes.c_float()
        library.call_structure_dissimilarity((ctypes.c_float * 4)(*sums), ctypes.byref(out))
        return out.value

    # both planes the same: their difference is nothing
    assert dissimilarity(49 * 0.5, 49 * 0.3, 0, 0) == 0
    # same level, opposite deviations: variance 0.1 of the difference, none of the sum
    c2 = 8 * 0.03**2
    assert dissimilarity(0, 0, 0, 49 * 0.1) == pytest.approx(1 - (c2 - 0.1) / (c2 + 0.1), rel=1e-5)


def test_arguments_lie_where_the_compiler_puts_them(library):
    layout = (ctypes.c_int64 * 9)()
    library.call_layout(layout)
    types = (PreprocessParameters, ResidualParameters, ReduceParameters, Counters, Result)
    fields = (
        PreprocessParameters.inverse_box_area,
        ResidualParameters.gate_scale,
        ReduceParameters.taps,
        Result.median_bin,
    )
    assert list(layout) == [*map(ctypes.sizeof, types), *(field.offset for field in fields)]
