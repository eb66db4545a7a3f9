"""A GenICam camera through a GenTL producer, with harvesters. Runs in the child process; see child.py."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from edge.capture.genicam.driver import Buffer, DriverSettings, PixelLayout
from edge.core.errors import CameraError, MissingDependency, install_extra

# buffers that the driver fills while earlier ones are copied
BUFFERS = 8
# how long the driver is asked for a buffer before time is looked at again
_ASK_MS = 20
_EXPOSURE = ("ExposureTime", "ExposureTimeAbs")
_GAIN = ("Gain", "GainAbs")


class HarvestersDriver:
    """One camera that runs. harvesters takes incomplete buffers away and tells only that there was one."""

    def __init__(self, harvester: Any, acquirer: Any, name: str, settings: DriverSettings) -> None:
        from genicam import gentl

        self.name = name
        self._gentl = gentl
        self._harvester, self._acquirer = harvester, acquirer
        self._held: Any = None
        self._incomplete = 0
        _Nodes(acquirer.remote_device.node_map, name).set_up(settings)
        self.picture_bytes = self._payload_bytes()
        acquirer.num_buffers = max(BUFFERS, acquirer.min_num_buffers)
        acquirer.timeout_period_on_update_event_data_call = _ASK_MS
        acquirer.add_callback(acquirer.Events.INCOMPLETE_BUFFER, _noting(self._note_incomplete))
        acquirer.start()

    def next_buffer(self, timeout_s: float) -> Buffer | None:
        """See Driver."""
        if not self._incomplete:
            self._held = self._acquirer.try_fetch(timeout=timeout_s)
        if self._held is None and self._incomplete:
            self._incomplete -= 1
            return Buffer(None)
        return None if self._held is None else self._buffer_of(self._held)

    def release(self) -> None:
        if self._held is not None:
            self._held.queue()
            self._held = None

    def check(self) -> None:
        """Read the first bytes of the camera's memory, which a lost one does not answer."""
        port = self._acquirer.remote_device.port
        # answers, too: some producers have nothing at that address
        with suppress(self._gentl.InvalidAddressException, self._gentl.NotImplementedException):
            port.read(0, 4)

    def close(self) -> None:
        """Stop, and give the camera back."""
        self.release()
        self._acquirer.stop()
        self._acquirer.destroy()
        self._harvester.reset()

    def _note_incomplete(self) -> None:
        self._incomplete += 1

    def _payload_bytes(self) -> int:
        stream = self._acquirer.data_streams[0]
        if stream.defines_payload_size():
            return int(stream.payload_size)
        return int(self._acquirer.remote_device.node_map.PayloadSize.value)

    def _buffer_of(self, held: Any) -> Buffer:
        frame_id, device_ns = self._known(lambda: held.module.frame_id), self._device_ns(held.module)
        parts = [] if held.payload is None else held.payload.components
        pictures = [part for part in parts if getattr(part, "width", 0) and part.data is not None]
        if not pictures:
            raise CameraError(
                f"{self.name} sends data without a picture (payload type {held.payload_type})",
                fix="let the camera send images only: set its component and chunk modes back (UserSetLoad Default)",
            )
        picture = pictures[0]
        # packed formats come unpacked, as 16 bits
        data = picture.data.view(np.uint8)
        height_px, width_px = int(picture.height), int(picture.width)
        return Buffer(
            frame_id,
            device_ns,
            PixelLayout(str(picture.data_format), width_px, height_px, data.size // height_px),
            data,
        )

    def _device_ns(self, module: Any) -> int | None:
        stamp = self._known(lambda: module.timestamp_ns)
        if stamp is None:
            ticks = self._known(lambda: module.timestamp)
            per_second = self._known(lambda: module.parent.parent.timestamp_frequency)
            stamp = ticks * 1_000_000_000 // per_second if ticks and per_second else None
        return stamp or None

    def _known(self, ask: Callable[[], Any]) -> int | None:
        try:
            return int(ask())
        # many producers cannot say it
        except self._gentl.GenericException:
            return None


def open_driver(settings: DriverSettings) -> HarvestersDriver:
    """Open the camera of settings.serial; raises CameraError with the cameras that are there."""
    try:
        from harvesters.core import Harvester, ParameterKey, ParameterSet
    except ImportError as error:
        raise MissingDependency(f"harvesters: {error}", fix=install_extra("genicam")) from error
    harvester = Harvester()
    for producer in settings.producers:
        _try_producer(producer)
        harvester.add_file(producer)
    harvester.update()
    chosen = _chosen(harvester.device_info_list, settings)
    info = harvester.device_info_list[chosen]
    name = f"genicam:{_of(info, 'serial_number') or _of(info, 'id_')}"
    # chunks are not used, and a camera whose chunks cannot be parsed would end it
    quiet = ParameterSet({ParameterKey.ENABLE_AUTO_CHUNK_DATA_UPDATE: False})
    try:
        acquirer = harvester.create(chosen, config=quiet)
    # of several kinds, by the producer: busy, not allowed, gone meanwhile
    except Exception as error:
        raise CameraError(
            f"{name} is there and cannot be opened: {type(error).__name__}: {error}",
            fix="see that no other program has it; after a crash a GigE camera is free again in a few seconds",
        ) from error
    # it has taken Ctrl-C for itself
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return HarvestersDriver(harvester, acquirer, name, settings)


def _try_producer(path: str) -> None:
    """harvesters passes over a producer that cannot be loaded; this says why."""
    from genicam.gentl import GenericException, GenTLProducer

    producer = GenTLProducer.create_producer()
    try:
        producer.open(path)
        producer.close()
    except GenericException as error:
        raise CameraError(
            f"{path}: this GenTL producer cannot be loaded: {error}",
            fix="install the maker's software for this processor, or name another file in camera.genicam.producers",
        ) from error


def _chosen(devices: Sequence[Any], settings: DriverSettings) -> int:
    """The position of the camera that is meant."""
    names = [{_of(info, key) for key in ("serial_number", "id_", "user_defined_name")} - {""} for info in devices]
    present = ", ".join(
        f"{_of(info, 'serial_number') or _of(info, 'id_')} ({_of(info, 'vendor')} {_of(info, 'model')})"
        for info in devices
    )
    found = [place for place, each in enumerate(names) if not settings.serial or settings.serial in each]
    if len(found) == 1:
        return found[0]
    meant = f"genicam:{settings.serial}"
    if found:
        raise CameraError(f"{meant}: {len(found)} cameras fit: {present}", fix="name one of them: genicam:SERIAL")
    if not devices:
        producers = ", ".join(settings.producers)
        raise CameraError(
            f"{meant}: no camera is seen by {producers}",
            fix="see that it has power and an address in this machine's network; the maker's own viewer must see it",
        )
    raise CameraError(f"{meant}: no such camera (present: {present})", fix="name one of those")


def _of(info: Any, key: str) -> str:
    # a producer raises for what it does not know
    with suppress(Exception):
        return str(getattr(info, key) or "")
    return ""


def _noting(note: Callable[[], None]) -> Any:
    from harvesters.core import Callback

    class Noting(Callback):  # type: ignore[misc]
        def emit(self, context: object = None) -> None:
            note()

    return Noting()


class _Nodes:
    """The camera's features, by their standard names (SFNC), some with older names beside."""

    def __init__(self, node_map: Any, camera: str) -> None:
        self._map, self._camera = node_map, camera

    def set_up(self, settings: DriverSettings) -> None:
        self._set_if_there("AcquisitionMode", "Continuous")
        if settings.pixel_format is not None:
            self._set(("PixelFormat",), settings.pixel_format, "camera.genicam.pixel_format")
        self._require_handled_format()
        for value, names, key in (
            (settings.width_px, ("Width",), "camera.width_px"),
            (settings.height_px, ("Height",), "camera.height_px"),
            (settings.packet_bytes, ("GevSCPSPacketSize",), "camera.genicam.packet_bytes"),
        ):
            if value is not None:
                self._set(names, value, key)
        if settings.exposure_us is not None:
            self._set_if_there("ExposureAuto", "Off")
            self._set(_EXPOSURE, settings.exposure_us, "camera.genicam.exposure_us")
        if settings.gain_db is not None:
            self._set_if_there("GainAuto", "Off")
            self._set(_GAIN, settings.gain_db, "camera.genicam.gain_db")
        if settings.fps is not None and not settings.triggered:
            self._set_if_there("AcquisitionFrameRateEnable", True)
            self._set(("AcquisitionFrameRate", "AcquisitionFrameRateAbs"), settings.fps, "camera.fps")
        self._set_trigger(settings)

    def _set_trigger(self, settings: DriverSettings) -> None:
        self._set_if_there("TriggerSelector", "FrameStart")
        if not settings.triggered:
            # a line with trigger.mode hardware may have left it on
            self._set_if_there("TriggerMode", "Off")
            return
        if settings.trigger_source is not None:
            self._set(("TriggerSource",), settings.trigger_source, "camera.genicam.trigger_source")
        self._set(("TriggerMode",), "On", "trigger.mode hardware")

    def _require_handled_format(self) -> None:
        from edge.capture.genicam.pixel_formats import HANDLED, handled_name

        node = self._map.PixelFormat
        if handled_name(str(node.value)) is None:
            usable = [each for each in node.symbolics if handled_name(each)]
            fix = f"set camera.genicam.pixel_format to one of: {', '.join(usable)}"
            raise CameraError(
                f"{self._camera} sends {node.value}, which is not supported; it offers {', '.join(node.symbolics)}",
                fix=fix if usable else f"supported are {', '.join(HANDLED)}",
            )

    def _set_if_there(self, name: str, value: Any) -> None:
        # absent, locked or without that value: the camera does without
        with suppress(Exception):
            getattr(self._map, name).value = value

    def _set(self, names: Sequence[str], value: Any, key: str) -> None:
        name = next((each for each in names if self._map.has_node(each)), None)
        if name is None:
            raise CameraError(
                f"{self._camera} has no {names[0]}, which {key} needs", fix=f"change {key}, or leave it out"
            )
        node = getattr(self._map, name)
        try:
            node.value = value
        # GenICam has an exception of its own for every kind of refusal
        except Exception as error:
            raise CameraError(
                f"{self._camera} refuses {name} = {value} ({key}); it takes {_range(node)}: {error}",
                fix=f"change {key}, or leave it out",
            ) from error


def _range(node: Any) -> str:
    with suppress(Exception):
        return ", ".join(node.symbolics)
    with suppress(Exception):
        return f"{node.min} to {node.max}"
    return "what its maker documents"
