"""Which cores the lines of the study get."""

import pytest

from benchmarks.studies.plant.lines_on_one_machine import states
from edge.core.errors import UsageError


def test_two_lines_have_cores_of_their_own_or_share_all():
    alone, half, apart, shared = (state.cores for state in states([0, 2, 4, 6, 8]))
    assert alone == ({0, 2, 4, 6, 8},)
    assert half == ({0, 2},)
    assert apart == ({0, 2}, {4, 6})
    assert shared == ({0, 2, 4, 6, 8},) * 2


def test_one_core_is_refused():
    with pytest.raises(UsageError, match="need two"):
        states([3])
