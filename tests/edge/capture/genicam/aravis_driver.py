"""A driver for the child process by Aravis, whose fake GigE camera loses packets: nothing else here speaks GigE Vision.

The camera's name is its address. With a trigger of its own it is asked by software from here, every TRIGGER_S.
"""

import sys
import time

import numpy as np

from edge.capture.genicam.driver import Buffer, PixelLayout
from edge.core.errors import CameraError

# where Debian keeps `gi` for its own Python, of the same version
sys.path.append("/usr/lib/python3/dist-packages")
TRIGGER_S = 0.05


class AravisDriver:
    def __init__(self, settings):
        import gi

        gi.require_version("Aravis", "0.8")
        from gi.repository import Aravis

        self._aravis, self.name = Aravis, f"aravis:{settings.serial}"
        try:
            self._camera = Aravis.Camera.new(settings.serial)
        except Exception as error:
            raise CameraError(f"{settings.serial}: {error}", fix="start the fake camera") from error
        camera = self._camera
        # as root it would read raw packets, of which the loopback has none
        camera.get_device().set_stream_options(Aravis.GvStreamOption.PACKET_SOCKET_DISABLED)
        camera.gv_set_packet_size(settings.packet_bytes or 4000)
        # a whole picture fits the socket's memory: the loopback has lost none of it
        camera.set_region(0, 0, settings.width_px or 256, settings.height_px or 256)
        camera.set_exposure_time(settings.exposure_us or 10_000)
        camera.set_gain(settings.gain_db or 0)
        if settings.pixel_format:
            camera.set_pixel_format_from_string(settings.pixel_format)
        self._triggered, self._fired_s = settings.triggered, time.monotonic()
        if settings.triggered:
            camera.set_string("TriggerSelector", "FrameStart")
            camera.set_string("TriggerSource", settings.trigger_source or "Software")
            camera.set_string("TriggerMode", "On")
            self._triggered = settings.trigger_source is None
        else:
            camera.set_string("TriggerMode", "Off")
            camera.set_frame_rate(settings.fps or 25)
        self.picture_bytes = camera.get_payload()
        self._stream = camera.create_stream(None, None)
        for _ in range(8):
            self._stream.push_buffer(Aravis.Buffer.new_allocate(self.picture_bytes))
        self._held = None
        camera.start_acquisition()

    def next_buffer(self, timeout_s):
        if self._triggered and time.monotonic() - self._fired_s >= TRIGGER_S:
            self._fired_s = time.monotonic()
            self._camera.software_trigger()
        self._held = held = self._stream.timeout_pop_buffer(round(timeout_s * 1e6))
        if held is None:
            return None
        if held.get_status() != self._aravis.BufferStatus.SUCCESS:
            return Buffer(held.get_frame_id())
        data = np.frombuffer(held.get_data(), np.uint8)
        width, height = held.get_image_width(), held.get_image_height()
        layout = PixelLayout(self._camera.get_pixel_format_as_string(), width, height, data.size // height)
        return Buffer(held.get_frame_id(), held.get_timestamp(), layout, data)

    def release(self):
        if self._held is not None:
            self._stream.push_buffer(self._held)
            self._held = None

    def check(self):
        try:
            self._camera.get_device().read_register(0)
        except Exception as error:
            raise CameraError(f"{self.name} does not answer: {error}", fix="start the fake camera") from error

    def close(self):
        self._camera.stop_acquisition()


def open_driver(settings):
    return AravisDriver(settings)
