"""A session on the fake GPU: what it asks of the driver, and what it leaves when it is closed."""

import pytest

from edge.backends.gpu.cuda_driver import DriverError
from edge.backends.gpu.gpu_tensorrt import open_session
from tests.edge.backends.gpu.fakes.fake_driver import NO_BINARY

OUT_OF_MEMORY = 2


def test_an_image_that_the_driver_refuses_is_told_with_its_words_and_one_that_it_takes_is_not_kept(gpu):
    gpu.refused_images = {b"too new": NO_BINARY}
    session = open_session()
    with session.current():
        assert session.image_refusal(b"too new") == "CUDA_ERROR_NO_BINARY_FOR_GPU (209)"
        assert session.image_refusal(b"fits") is None
    assert "modules" not in gpu.live()
    session.close()


def test_what_is_wrong_with_the_driver_is_no_refusal_of_the_image(gpu):
    gpu.refused_images = {b"fits": OUT_OF_MEMORY}
    session = open_session()
    with session.current(), pytest.raises(DriverError, match=r"cuModuleLoadData failed: .*2"):
        session.image_refusal(b"fits")
    session.close()


SPIN = 1


def test_a_context_is_made_to_wait_without_sleeping_once_for_all_sessions(gpu):
    first, second = open_session(), open_session()
    assert gpu.context_flags == SPIN
    first.close()
    second.close()


def test_a_context_that_another_library_made_is_used_as_it_is(gpu):
    others = gpu.pycuda.Device(0).retain_primary_context()
    session = open_session()
    assert gpu.context_flags == 0
    session.close()
    others.push()
    others.detach()
    gpu.stack.pop()
