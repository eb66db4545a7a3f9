"""How a frame gets to the fake GPU: from where its source put it, or by a copy; and how its result gets back."""

import numpy as np
import pytest

from edge.core.errors import ModelError
from edge.core.frame_memory import FrameMemory, buffer_of
from edge.core.latency import StageClock
from tests.edge.backends.gpu.conftest import PARTS, score
from tests.small_bundle import make_bundle

NOT_SUPPORTED = 801


def in_frame_memory(memory, part):
    image = memory.empty(part.shape)
    image[:] = part
    return image


def staged(line):
    return line.pipelines[-1]._staged


@pytest.mark.parametrize("changes", [{}, {"preprocess": {"rectangle": (8, 4, 40, 36)}}])
def test_a_frame_in_memory_that_is_used_again_is_uploaded_from_there(line_of, gpu, tmp_path, changes):
    line, memory = line_of(make_bundle(tmp_path / "made", **changes)), FrameMemory()
    backend = line.backend()
    wanted = [score(backend, part) for part in PARTS]
    staged(line)[:] = 99
    for part, expected in zip(PARTS, wanted, strict=True):
        found = score(backend, in_frame_memory(memory, part))
        assert (found.score, found.area_px) == (expected.score, expected.area_px)
        assert np.array_equal(found.values, expected.values)
    assert (staged(line) == 99).all()
    # one buffer was enough: it was free again after each frame
    assert len(gpu.registered) == 1
    backend.close()
    assert gpu.registered == {}


def test_frames_of_both_kinds_are_judged_together(line_of):
    line, memory = line_of(most=3), FrameMemory()
    backend = line.backend()
    wanted = [score(backend, part).score for part in PARTS[:3]]
    mixed = [in_frame_memory(memory, PARTS[0]), PARTS[1], in_frame_memory(memory, PARTS[2])]
    assert [each.score for each in backend.score_many(mixed, StageClock(0))] == wanted
    backend.close()


def test_where_a_driver_pins_no_memory_of_others_a_copy_is_made(line_of, gpu, monkeypatch):
    line, memory = line_of(), FrameMemory()
    backend = line.backend()
    expected = score(backend, PARTS[-1]).score
    score(backend, PARTS[0])
    monkeypatch.setattr(gpu.library, "cuMemHostRegister_v2", lambda *arguments: NOT_SUPPORTED)
    assert score(backend, in_frame_memory(memory, PARTS[-1])).score == expected
    assert gpu.registered == {}
    backend.close()


def test_buffers_are_known_to_the_driver_until_the_last_session_ends(line_of, gpu):
    line, memory = line_of(), FrameMemory()
    first, second = line.backend(), line.backend()
    image = in_frame_memory(memory, PARTS[0])
    score(first, image)
    score(second, image)
    assert list(gpu.registered) == [buffer_of(image).address]
    first.close()
    assert score(second, image).score > 0
    assert len(gpu.registered) == 1
    second.close()
    assert gpu.registered == {}


def test_after_a_loss_buffers_are_pinned_again(line_of, gpu):
    line, memory = line_of(), FrameMemory()
    backend = line.backend()
    whole = score(backend, in_frame_memory(memory, PARTS[-1])).score
    gpu.lose()
    with pytest.raises(Exception, match="LAUNCH_FAILED"):
        score(backend, in_frame_memory(memory, PARTS[-1]))
    assert gpu.registered == {}
    line.now_s += 100
    assert score(backend, in_frame_memory(memory, PARTS[-1])).score == whole
    assert len(gpu.registered) == 1
    backend.close()


def test_a_launch_that_writes_no_result_is_an_error_and_not_the_frame_before(line_of, gpu):
    backend = line_of().backend()
    score(backend, PARTS[0])
    for works in gpu.executables.values():
        works.clear()
    with pytest.raises(ModelError, match="not finite"):
        score(backend, PARTS[0])
    backend.close()


def test_keeping_warm_uploads_nothing_and_holds_no_frame(line_of, gpu):
    line, memory = line_of(), FrameMemory()
    backend = line.backend()
    image = in_frame_memory(memory, PARTS[0])
    score(backend, image)
    buffer = buffer_of(image)
    del image
    before = gpu.counts["cuMemcpy2DAsync_v2"], gpu.counts["cuGraphLaunch"]
    line.now_s += line.keep_warm_s
    backend.keep_warm()
    assert (gpu.counts["cuMemcpy2DAsync_v2"], gpu.counts["cuGraphLaunch"]) == (before[0], before[1] + 1)
    assert buffer_of(memory.empty(PARTS[0].shape)) is buffer
    backend.close()
