"""Scale and tiles from the smallest defect that matters."""

import pytest

from edge.core.errors import UsageError
from edge.preprocessing.tile_choice import SMALLEST_DEFECT_PX, chosen_tiles
from edge.preprocessing.tiling import Tiling


@pytest.mark.parametrize("smallest", [6, 7, 12, 20, 33])
@pytest.mark.parametrize("view", [(3072, 4096), (768, 576), (1001, 3999), (401, 4000)])
def test_the_smallest_defect_keeps_its_pixels_in_the_field(view, smallest):
    choice = chosen_tiles(view, smallest, 256)
    if choice is None:
        assert max(view) * SMALLEST_DEFECT_PX / smallest <= 256
        return

    field = (choice.spec.height, choice.spec.width)
    assert all(smallest * own / length >= SMALLEST_DEFECT_PX for own, length in zip(field, view, strict=True))
    # and no more of them than whole steps need
    assert all(own - 32 < length * SMALLEST_DEFECT_PX / smallest for own, length in zip(field, view, strict=True))
    assert all(own <= whole for own, whole in zip(choice.tile, field, strict=True))


def test_a_frame_of_twelve_megapixels_at_half_its_scale_has_forty_two_tiles():
    choice = chosen_tiles((3072, 4096), 12, 256)

    assert (choice.spec.height, choice.spec.width) == (1536, 2048)
    assert len(Tiling((1536, 2048), choice.tile, choice.spec.halo)) == 42
    # squares of 256 px with the same halo are 63
    assert len(Tiling((1536, 2048), (256, 256), 16)) == 63
    assert "42 of 320x288 px" in choice.said
    assert "a defect of 12 px is 6.0 px there" in choice.said


def test_no_tiles_are_needed_where_one_field_shows_the_defect():
    assert chosen_tiles((768, 1024), 24, 256) is None


@pytest.mark.parametrize(
    ("view", "smallest", "message"),
    [((768, 1024), 5.9, "is too small"), ((20_000, 200), 6, "are the most"), ((9000, 9000), 6, "are the most")],
)
def test_what_cannot_be_shown_is_refused_in_words(view, smallest, message):
    with pytest.raises(UsageError, match=message) as error:
        chosen_tiles(view, smallest, 256)
    assert error.value.fix


def test_a_small_network_has_small_tiles():
    choice = chosen_tiles((160, 224), 6, 64)

    assert choice.tile == (64, 96)
