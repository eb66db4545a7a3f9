"""Several pictures of one part are told by a list, or by their names."""

import pytest

from edge.core.errors import UsageError
from edge.preprocessing.part_names import part_names


def paths(root, *names):
    return [root / name for name in names]


def test_what_stands_before_the_last_of_several_numbers_names_the_part(tmp_path):
    one, other, third = part_names(
        tmp_path, paths(tmp_path, "dent/part17_1.png", "dent/part17_2.png", "dent/part18_1.png")
    )
    assert one == other != third


def test_one_number_counts_pictures_and_says_nothing_about_parts(tmp_path):
    names = part_names(tmp_path, paths(tmp_path, "dent/0001.png", "dent/0002.png", "dent/left.png", "hole/0001.png"))
    assert len(set(names)) == 4


def test_a_list_beside_the_pictures_decides_where_it_names_them(tmp_path):
    (tmp_path / "groups.csv").write_text("file,group\ndent/a.png,7\nhole/b.png,7\ndent/c.png,\n")
    names = part_names(tmp_path, paths(tmp_path, "dent/a.png", "hole/b.png", "dent/c.png"))
    assert names[0] == names[1] == "7"
    assert names[2] not in ("", "7")


@pytest.mark.parametrize("content", [b"picture,part\na.png,1\n", b"\xff\xfe,\n\x00", b""])
def test_a_list_that_cannot_be_read_is_refused_with_its_name(tmp_path, content):
    (tmp_path / "groups.csv").write_bytes(content)
    with pytest.raises(UsageError, match=r"groups\.csv: no groups to read"):
        part_names(tmp_path, paths(tmp_path, "a.png"))
