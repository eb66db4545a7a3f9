"""Cameras' pictures lie in memory that is used again, with the same pixels."""

import cv2
import numpy as np

from edge.capture import opencv_camera
from edge.capture.images.image_io import decode_picture
from edge.capture.opencv_camera import OpenCvCamera
from edge.core.config import CameraSettings
from edge.core.frame_memory import FrameMemory, buffer_of
from tests.edge.capture.test_sources import Driver
from tests.fakes import picture


def test_a_camera_s_pictures_lie_in_memory_that_is_used_again(monkeypatch):
    memory = FrameMemory()
    monkeypatch.setattr(opencv_camera, "FRAME_MEMORY", memory)
    camera = OpenCvCamera(Driver(*[(True, (True, picture(seed))) for seed in range(4)]), "cam", CameraSettings())
    # the size is known from the first one on
    first, kept = camera.read().image, camera.read().image
    assert buffer_of(first) is None and buffer_of(kept) is not None
    third = buffer_of(camera.read().image)
    assert third is not buffer_of(kept)
    fourth = camera.read().image
    assert buffer_of(fourth) is third
    assert (kept == picture(1)).all() and (fourth == picture(3)).all()


def test_a_jpeg_is_decoded_into_the_memory_it_is_given():
    whole = cv2.imencode(".jpg", np.tile(picture(1), (8, 8, 1)))[1].tobytes()
    image = decode_picture(whole, memory=FrameMemory())
    assert buffer_of(image) is not None
    assert (image == decode_picture(whole)).all()
    driver = Driver((True, (True, np.frombuffer(whole, np.uint8)[None])), fourcc="MJPG")
    assert buffer_of(OpenCvCamera(driver, "cam", CameraSettings()).read().image) is not None


def test_opencv_itself_retrieves_into_the_memory_it_is_given(tmp_path):
    path = str(tmp_path / "two.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"MJPG"), 10, (80, 60))
    for seed in range(2):
        writer.write(picture(seed))
    writer.release()
    reader, again = cv2.VideoCapture(path), cv2.VideoCapture(path)
    for _ in range(2):
        given = FrameMemory().empty((60, 80, 3))
        assert reader.grab() and again.grab()
        decoded, image = reader.retrieve(given)
        assert decoded and buffer_of(image) is buffer_of(given)
        assert (image == again.retrieve()[1]).all()
