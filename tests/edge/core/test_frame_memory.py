"""Memory of live pictures: the same again once nobody looks, never while somebody does."""

import gc
import mmap
import threading

import numpy as np
import pytest

from edge.core.frame_memory import FrameMemory, buffer_of

SHAPE = (4, 5, 3)


def test_memory_is_used_again_when_the_last_view_of_a_picture_is_gone():
    memory = FrameMemory()
    image = memory.empty(SHAPE)
    buffer, part = buffer_of(image), image[1:3, ::2]
    image[:] = 7
    assert (image.shape, image.dtype, image.flags.c_contiguous) == (SHAPE, np.uint8, True)
    del image
    other = memory.empty(SHAPE)
    assert buffer_of(other) is not buffer is not None
    other[:] = 9
    assert buffer_of(part) is buffer and (part == 7).all()
    del part
    gc.collect()
    assert buffer_of(memory.empty(SHAPE)) is buffer


def test_more_pictures_than_there_is_room_for_lie_in_ordinary_memory():
    memory = FrameMemory(most_buffers=2)
    taken = [memory.empty(SHAPE) for _ in range(3)]
    assert [buffer_of(image) is None for image in taken] == [False, False, True]
    assert buffer_of(FrameMemory(most_bytes=100).empty(SHAPE)) is None
    assert memory.empty((0, 4, 3)).size == 0


def test_each_size_has_buffers_of_its_own_within_the_bytes_of_all():
    memory = FrameMemory(most_bytes=5 * mmap.PAGESIZE)
    large = (2 * mmap.PAGESIZE, 1, 2)
    taken = [memory.empty(SHAPE), memory.empty(large), memory.empty(SHAPE)]
    assert [buffer_of(image) is None for image in taken] == [False, False, True]
    assert buffer_of(taken[1]).bytes == 4 * mmap.PAGESIZE


def test_a_picture_outlives_what_gave_it():
    image = FrameMemory().empty(SHAPE)
    gc.collect()
    image[:] = 3
    assert image.sum() == 3 * image.size


def test_pictures_of_other_kinds_lie_in_no_buffer():
    assert buffer_of(np.zeros(SHAPE, np.uint8)) is None
    assert buffer_of(np.zeros(SHAPE, np.uint8)[1:]) is None


@pytest.mark.parametrize("threads", [4])
def test_no_two_pictures_share_memory_whoever_lets_go_of_them(threads):
    memory, wrong = FrameMemory(most_buffers=3), []

    def work(level):
        for _ in range(300):
            image = memory.empty(SHAPE)
            image[:] = level
            part = image[2:]
            del image
            if not (part == level).all():
                wrong.append(level)

    running = [threading.Thread(target=work, args=(level,)) for level in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert wrong == []
