"""Videos: whole pictures come with their pixels, damaged ones and all made of them as faults; cut files are told."""

import io
import struct
from datetime import datetime, timezone
from itertools import product

import av
import numpy as np
import pytest

from edge.capture.sources import open_source
from edge.capture.streams.access_units import MOST_PIECES, AccessUnitJoiner
from edge.capture.streams.video_decoder import VideoDecoder
from edge.core.config import CameraSettings
from edge.core.datatypes import Reason
from edge.core.errors import CameraError
from tests.edge.capture.streams import videos
from tests.edge.capture.test_sources import read_all

SETTINGS = CameraSettings()


def seen(path):
    """Numbers of the whole pictures, None for faults."""
    return [
        None if frame.image is None else videos.number_in(frame.image)
        for frame in read_all(open_source(str(path), SETTINGS))
    ]


def faults(path):
    return [frame.fault.detail for frame in read_all(open_source(str(path), SETTINGS)) if frame.fault is not None]


def test_a_whole_video_is_whole(tmp_path):
    for name, codec in [
        ("v.mp4", "libx264"),
        ("v.mkv", "libx264"),
        ("v.ts", "libx264"),
        ("v.avi", "mjpeg"),
        ("v.mp4", "libx265"),
        ("v.avi", "mpeg4"),
    ]:
        assert seen(videos.write_container(tmp_path / name, 25, codec)) == list(range(25)), (name, codec)


@pytest.mark.parametrize("kind", ["zeroed", "random", "dropped bytes", "cut"])
def test_what_is_made_of_a_damaged_picture_counts_again_from_the_next_key_frame_on(tmp_path, kind):
    packets, _ = videos.encoded(30)
    broken = bytearray(packets[13])
    middle = len(broken) // 2
    if kind == "zeroed":
        broken[middle : middle + 100] = bytes(100)
    elif kind == "random":
        broken[middle : middle + 60] = np.random.default_rng(2).bytes(60)
    elif kind == "dropped bytes":
        del broken[middle : middle + 200]
    else:
        del broken[middle:]
    packets[13] = bytes(broken)
    numbers = seen(videos.write_stream(tmp_path / "v.h264", packets))
    assert numbers[:12] == list(range(12)) and numbers[-10:] == list(range(20, 30))
    assert set(numbers[13:-10]) == {None}


def test_one_changed_bit_of_an_hevc_picture_is_noticed_where_the_sender_adds_check_sums(tmp_path):
    packets, _ = videos.encoded(30, "libx265", **{"x265-params": "log-level=0:hash=1"})
    whole = packets[13]
    for place in range(4):
        broken = bytearray(whole)
        broken[len(broken) // 2 + place] ^= 4
        packets[13] = bytes(broken)
        (tmp_path / "v.hevc").write_bytes(b"".join(packets))
        numbers = seen(tmp_path / "v.hevc")
        assert 13 not in numbers and set(numbers[14:-10]) == {None} and numbers[-10:] == list(range(20, 30)), place


@pytest.mark.parametrize("lost", [3, 14])
def test_a_missing_picture_is_noticed_by_those_that_need_it(tmp_path, lost):
    packets, _ = videos.encoded(30)
    del packets[lost]
    numbers = seen(videos.write_stream(tmp_path / "v.h264", packets))
    key = (lost // videos.KEY_EVERY + 1) * videos.KEY_EVERY
    assert numbers == [*range(lost), *[None] * (key - lost - 1), *range(key, 30)]


def test_pictures_before_the_first_key_frame_are_not_whole(tmp_path):
    packets, context = videos.encoded(30)
    headers = bytes(context.extradata or b"")
    numbers = seen(videos.write_stream(tmp_path / "v.h264", [headers, *packets[4:]]))
    assert [number for number in numbers if number is not None] == list(range(10, 30))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_clip_trimmed_without_coding_it_anew_is_complete(tmp_path, suffix):
    whole = videos.write_container(tmp_path / "whole.mkv", 30, bf="2")
    clip = videos.copied(whole, tmp_path / f"clip{suffix}", keep=lambda number: number >= 10)
    numbers = seen(clip)
    assert None not in numbers and numbers == list(range(10, 30))


def test_a_clip_whose_first_pictures_are_only_decoded_is_whole(tmp_path):
    whole = videos.write_container(tmp_path / "v.mp4", 30, bf="0")
    content = bytearray(whole.read_bytes())
    # the edit list begins at the fifth picture instead of the first
    place = content.index(b"elst") + 4
    with av.open(str(whole)) as container:
        step = next(container.demux(video=0)).duration
    version, count = struct.unpack_from(">II", content, place)
    assert (version, count) == (0, 1)
    struct.pack_into(">i", content, place + 12, 5 * step)
    whole.write_bytes(content)
    numbers = seen(whole)
    assert numbers == list(range(5, 30))


def test_a_rate_that_varies_and_a_wrong_count_in_the_header_break_nothing_off(tmp_path):
    path = tmp_path / "v.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = videos.WIDTH, videos.HEIGHT, "yuv420p"
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(videos.numbered(number), format="bgr24")
            frame.pts = number if number < 10 else 10 + (number - 10) * 30
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert seen(path) == list(range(20))


@pytest.mark.parametrize(
    ("name", "codec", "complaint"),
    [
        ("v.mkv", "libx264", "File ended prematurely"),
        ("v.ts", "libx264", "no whole number of packets"),
        ("v.avi", "mjpeg", "bytes)"),
        ("v.mp4", "libx264", "cannot be opened as a video"),
    ],
)
def test_a_file_that_is_cut_off_says_so(tmp_path, name, codec, complaint):
    path = videos.write_container(tmp_path / name, 40, codec)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2 + 1])
    try:
        told = faults(path)[-1]
        assert told.startswith("the video breaks off after ")
    except CameraError as error:
        told = error.message
    assert complaint in told


def test_pixels_are_as_stored_a_rotation_is_not_applied(tmp_path):
    path = tmp_path / "v.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = videos.WIDTH, videos.HEIGHT, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(videos.numbered(3), format="bgr24")))
        container.mux(stream.encode(None))
    content = path.read_bytes()
    # the matrix of the track's header, turned by a quarter
    place = content.index(b"tkhd") + 4 + 40
    turned = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, videos.HEIGHT << 16, 0, 1 << 30)
    path.write_bytes(content[:place] + turned + content[place + 36 :])
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).rotation != 0
    (frame,) = read_all(open_source(str(path), SETTINGS))
    assert frame.image.shape[:2] == (videos.HEIGHT, videos.WIDTH) and videos.number_in(frame.image) == 3


def test_text_and_lists_of_other_files_are_no_videos(tmp_path, subtests):
    lists = [b"#EXTM3U\n#EXTINF:1,\nother.ts\n", b"ffconcat version 1.0\nfile other.mp4\n"]
    videos.write_container(tmp_path / "other.ts", 3)
    videos.write_container(tmp_path / "other.mp4", 3)
    for content, suffix in product([b"only text\n" * 100, *lists], [".txt", ".m3u8", ".mp4"]):
        with subtests.test(content=content[:20], suffix=suffix):
            (tmp_path / f"v{suffix}").write_bytes(content)
            with pytest.raises(CameraError, match="cannot be opened as a video"):
                open_source(str(tmp_path / f"v{suffix}"), SETTINGS)


def test_a_name_that_is_no_text_opens(tmp_path):
    path = videos.write_container(tmp_path / "v.mkv", 3)
    odd = path.rename(tmp_path / b"v\xe9.mkv".decode("utf-8", "surrogateescape"))
    assert seen(odd) == [0, 1, 2]


def test_each_picture_of_a_jpeg_video_is_looked_at_for_itself(tmp_path):
    path = videos.write_container(tmp_path / "v.avi", 12, "mjpeg")
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        sixth = [bytes(packet) for packet in container.demux(video=0) if packet.size][5]
    place, size = content.index(sixth), len(sixth)
    content[place + size // 2 : place + size - 2] = bytes(size - 2 - size // 2)
    path.write_bytes(content)
    frames = read_all(open_source(str(path), SETTINGS))
    assert [frame.fault is None for frame in frames] == [number != 5 for number in range(12)]
    assert frames[5].fault.reason is Reason.UNDECODABLE
    assert frames[4].original is not None


def test_nothing_of_ffmpeg_reaches_the_terminal(tmp_path, capfd):
    packets, _ = videos.encoded(20)
    packets[5] = packets[5][:40]
    seen(videos.write_stream(tmp_path / "v.h264", packets))
    assert capfd.readouterr() == ("", "")


# key frames in pieces


def pieces(packet, headers):
    """A key frame as GStreamer's payloader sends it: parameter sets before each of its slices."""
    units = [b"\0\0\1" + unit for unit in packet.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if unit]
    slices = [unit for unit in units if unit[3] & 31 == 5]
    assert len(slices) == 2
    return [headers + piece for piece in slices]


def test_key_frames_in_pieces_are_put_together_from_the_second_on():
    packets, context = videos.encoded(30, **{"x264-params": "slices=2:sliced-threads=0"})
    headers = b"".join(
        b"\0\0\1" + unit
        for unit in bytes(context.extradata or packets[0]).split(b"\0\0\1")
        if unit and unit[0] & 31 in (7, 8)
    )
    joiner, joined = AccessUnitJoiner("h264"), []
    for number, packet in enumerate(packets):
        is_key = number % videos.KEY_EVERY == 0
        for piece in pieces(packet, headers) if is_key else [packet]:
            joined += joiner.add(number, piece, is_key)
    context = av.CodecContext.create("h264", "r")
    context.thread_count, context.copy_opaque = 1, True
    whole = []
    for number, data in joined[11:]:
        packet = av.Packet(data)
        packet.opaque = number
        whole += [(frame.opaque, frame.is_corrupt) for frame in context.decode(packet)]
    assert whole == [(number, False) for number in range(10, 30)]


@pytest.mark.parametrize("codec", ["h264", "vp9"])
def test_whole_pictures_pass_at_once(codec):
    joiner = AccessUnitJoiner(codec)
    key, other = b"\0\0\1\x65\x88rest", b"\0\0\1\x41\x9arest"
    assert [joiner.add(number, data, data is key) for number, data in enumerate([key, other, other, key])] == [
        [(0, key)], [(1, other)], [(2, other)], [(3, key)],
    ]  # fmt: skip


def test_the_decoder_leaves_out_what_waits_up_to_the_next_key_frame():
    packets, _ = videos.encoded(30)
    container = av.open(io.BytesIO(b"".join(packets)), format="h264")
    decoder = VideoDecoder(container, SETTINGS)
    first = decoder.read()
    decoder.skip_to_key_frame()
    second = decoder.read()
    decoder.close()
    now = datetime.now(timezone.utc)
    numbers = [videos.number_in(picture.frame(0, 0, now, "v").image) for picture in (first, second)]
    assert numbers == [0, 10] and decoder.skipped == 9


def test_a_picture_that_never_ends_is_put_together_up_to_a_bound():
    first, piece = b"\0\0\1\x65\x88rest", b"\0\0\1\x65\x08rest"
    joiner, largest = AccessUnitJoiner("h264"), 0
    for number in range(20 * MOST_PIECES):
        # after a picture of thousands of pieces, a key frame would wait for as many
        start = number in (0, 10 * MOST_PIECES)
        joiner.add(number, first if start else piece, start)
        largest = max(largest, len(joiner._held[1]) if joiner._held else 0)
    assert 0 < largest <= MOST_PIECES * len(first)


def test_packets_of_which_a_decoder_makes_nothing_are_counted_and_not_kept(monkeypatch):
    monkeypatch.setattr("edge.capture.streams.video_decoder.MOST_UNSHOWN", 20)
    packets, _ = videos.encoded(200)
    decoder = VideoDecoder(av.open(io.BytesIO(b"".join(packets)), format="h264"), SETTINGS)
    monkeypatch.setattr(decoder, "_decode", lambda packet, number: None)
    for _ in range(150):
        decoder._advance()
    assert len(decoder._arrivals) <= 21
    assert decoder.skipped == 150 - len(decoder._arrivals)
    decoder.close()
