"""Records are the owner's to write and the group's to read, whatever the umask is."""

import os
import stat

import pytest

from edge.core.counters import RunCounters
from edge.core.datatypes import Decision
from edge.core.files.private_files import make_folder
from edge.records.schema import DATABASE_NAME
from tests.edge.records.records_fakes import look, recorder, wait_for

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


def modes(folder):
    return {path.relative_to(folder).as_posix(): stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}


@pytest.mark.usefixtures("umask")
def test_files_are_0640_and_folders_0750(tmp_path):
    counters, directory = RunCounters(), tmp_path / "line" / "records"
    sink = recorder(directory, counters)
    sink.write(*look(0, Decision.NG))
    wait_for(lambda: counters.images_stored == 1)
    while_it_runs = modes(tmp_path)
    sink.close()
    assert {f"line/records/{DATABASE_NAME}{end}" for end in ("", "-wal", "-shm")} <= set(while_it_runs)
    for found in (while_it_runs, modes(tmp_path)):
        for name, mode in found.items():
            assert mode == (0o750 if (tmp_path / name).is_dir() else 0o640), name


@pytest.mark.usefixtures("umask")
def test_a_store_that_was_open_to_all_is_closed_and_its_folder_left_as_it_is(tmp_path):
    tmp_path.chmod(0o755)
    recorder(tmp_path).close()
    (tmp_path / DATABASE_NAME).chmod(0o644)
    recorder(tmp_path).close()
    assert stat.S_IMODE((tmp_path / DATABASE_NAME).stat().st_mode) == 0o640
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path):
    (tmp_path / "records").write_text("")
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "records")
