"""The channel by HTTPS: who is spoken to, what happens when a server goes, and what a box costs it."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from edge.bundles.bundle import load_bundle
from edge.bundles.versions import write_bundle
from edge.core.errors import ConfigError
from edge.core.sections import ChannelSettings
from edge.fleet.channel.box_report import read_reports
from tests.edge.fleet.channel.tls_server import Authority, tls_server


@pytest.fixture
def large(channel, https_box):
    """Publishes a bundle whose FP32 network the box does not have; its size and path on the server."""
    live = load_bundle(https_box.bundle)
    # a field more, of which ONNX takes the last: the program that wrote it
    altered = live.read("model_fp32") + bytes([3 << 3 | 2, 1]) + b"x"
    write_bundle(live.path, live.manifest, {"model_fp32": ("model_fp32.onnx", altered)})

    def publish():
        channel.publish(0.4)
        file = channel.file_of("model_fp32")
        return file.stat().st_size, f"/files/{file.name}"

    return publish


def test_a_box_fetches_by_https_and_reports_by_it(channel, https_box, server):
    channel.publish(0.4)
    https_box.takes()
    (report,) = read_reports(channel.folder / "reports")
    assert (report.box, report.state, report.version) == ("left", "live", 1)
    asked = len(server.asked)
    https_box.takes()
    assert [path for _, path, _ in server.asked[asked:]] == ["/channel.json", "/reports/left.json"]


def test_a_server_that_dies_in_the_middle_is_gone_on_with_from_there(channel, https_box, server, large):
    size, path = large()
    server.cut_after = size // 2
    https_box.refuses(f"the connection ended after {size // 2} of {size} bytes", state="waiting")
    server.cut_after, sent = None, server.sent
    https_box.takes()
    assert ("GET", path, f"bytes={size // 2}-") in server.asked
    assert server.sent - sent < size // 2 + 200_000


def test_a_server_that_gives_byte_by_byte_is_left(channel, https_box, server, monkeypatch):
    channel.publish(0.4)
    monkeypatch.setattr("edge.fleet.channel.transport._TIMEOUT_S", 0.3)
    monkeypatch.setattr("edge.fleet.channel.transport._SLOWEST_BYTES_S", 1_000_000)
    server.drip_s = 0.02
    https_box.refuses("channel.json: too slow, it gives less than 1000000 bytes a second", state="waiting")


def test_a_server_without_ranges_gives_the_file_anew(channel, https_box, server, large):
    size, _ = large()
    server.cut_after, server.ranges = size // 2, False
    https_box.refuses("the connection ended", state="waiting")
    server.cut_after = None
    https_box.takes()


def test_a_part_that_does_not_fit_is_dropped_and_fetched_anew(channel, https_box, server, large):
    size, _ = large()
    server.cut_after = size // 2
    https_box.refuses("the connection ended", state="waiting")
    (part,) = (file for file in (https_box.bundle / "channel" / "downloads").iterdir() if file.stat().st_size)
    part.write_bytes(bytes(part.stat().st_size))
    server.cut_after = None
    https_box.refuses("what was kept of an earlier download does not fit the rest", state="waiting")
    https_box.takes()


def test_a_server_that_is_away_is_waited_for(channel, https_box, authority):
    channel.publish(0.4)
    with tls_server(channel.folder, authority.certificate("gone")) as (_, address):
        pass
    https_box.refuses("Connection refused", "it is tried again", state="waiting", source=address)


@pytest.mark.parametrize(
    ("begins", "word"), [(timedelta(days=400), "not yet valid"), (timedelta(days=-400), "expired")]
)
def test_a_wrong_clock_is_named_where_a_certificate_looks_too_young_or_too_old(
    channel, https_box, authority, begins, word
):
    channel.publish(0.4)
    with tls_server(channel.folder, authority.certificate("clock", begins)) as (_, address):
        https_box.refuses(word, "this box's clock says 2", "UTC: set it", state="waiting", source=address)


def test_a_server_of_another_authority_is_not_spoken_to(channel, https_box, server, tmp_path):
    channel.publish(0.4)
    other = Authority(tmp_path, "other")
    words = "the server's certificate is not trusted", "channel.ca_file"
    https_box.refuses(*words, state="waiting", ca_file=str(other.file))
    https_box.refuses("is not trusted", state="waiting", ca_file=None)
    # by a name that its certificate does not have
    address = server.address.replace("127.0.0.1", "localhost")
    https_box.refuses("is not trusted", "localhost", state="waiting", source=address, report=None)
    assert server.asked == []


def test_a_redirection_is_not_followed(channel, https_box, server):
    channel.publish(0.4)
    server.moved_to = "https://elsewhere.example/channel.json"
    https_box.refuses(
        "answers 302 Found and sends to 'https://elsewhere.example", "a redirection is not followed", state="waiting"
    )


def test_what_a_server_sends_is_bounded(channel, https_box, server):
    channel.publish(0.4)
    (channel.folder / "channel.json").write_bytes(b" " * 100_000)
    https_box.refuses("larger than the 65536 bytes that this file may have", state="waiting")


def test_a_server_can_ask_for_the_box_own_certificate(channel, https_box, authority, tmp_path):
    channel.publish(0.4)
    certificate, key = authority.certificate("left")
    with tls_server(channel.folder, authority.certificate("strict"), clients=authority.file) as (_, address):
        https_box.settings["report"] = None
        https_box.refuses("channel.certificate_file", state="waiting", source=address)
        https_box.takes(source=address, certificate_file=certificate, key_file=key)
        with pytest.raises(ConfigError, match="cannot be used"):
            https_box.look(source=address, certificate_file=certificate, key_file=certificate)
    with pytest.raises(ConfigError, match="ca_file"):
        https_box.look(ca_file=str(tmp_path / "nothing.pem"))


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://updates.example/line", "is a http:// address: only https:// is followed"),
        ("ftp://updates.example/line", "is no https:// address"),
        ("https://box:secret@updates.example/line", "has a user"),
        ("https://updates.example/line?token=x", "has a user, a [?] or a #"),
        ("https:///line", "is no https:// address with a host"),
        ("https://updates.example:0/line", "is no https:// address"),
        ("https://updates.example:99999/line", "Port out of range"),
        ("https://[::1/line", "Invalid IPv6 URL"),
    ],
)
def test_addresses_that_are_not_followed(address, words):
    for name in ("source", "report"):
        with pytest.raises(ValidationError, match=words):
            ChannelSettings.model_validate({name: address})


@pytest.mark.parametrize("host", ["a..b", "x" * 70 + ".example", "nowhere.invalid"])
def test_hosts_that_cannot_be_are_told(box, channel, host):
    channel.publish()
    box.refuses(host, state="waiting", source=f"https://{host}/line")


def test_a_path_with_blanks_and_other_letters_is_found(channel, https_box, server):
    channel.publish(0.4)
    server.folder = channel.folder.parent
    https_box.settings["source"] = f"{server.address}/my channél"
    channel.folder.rename(channel.folder.with_name("my channél"))
    https_box.takes(report=None)


def test_this_machine_itself_may_be_spoken_to_without_tls():
    assert ChannelSettings(source="http://127.0.0.1:8000/line").source is not None
