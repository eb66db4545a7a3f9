"""channel.json as bytes: spoilt, or signed and of no sense, it is one message."""

import json
import random

import pytest

from edge.bundles.bundle import sha256_of
from edge.bundles.signature import key_id, signed_hash
from edge.core.errors import ChannelError
from edge.fleet.channel.channel_file import Channel, ChannelFile, channel_bytes, channel_from_bytes

FILE = ChannelFile(sha256="0" * 64, bytes=1)
CHANNEL = Channel(
    version=1, revision=0, product="plate", method="kist", manifest=FILE, signature=FILE, ring=1, published_utc=""
)


def spoilt(data, draw):
    """Bits, cuts and pieces that JSON stumbles over."""
    place = draw.randrange(len(data))
    piece = draw.choice([b"null", b"1e999", b'"', b"[[[", b"\xff", b"\\ud800", b"{}"])
    return draw.choice([
        data[:place] + bytes([data[place] ^ 1 << draw.randrange(8)]) + data[place + 1 :],
        data[:place] + data[place + draw.randrange(30) :],
        data[:place] + piece + data[place:],
        data[:place],
    ])  # fmt: skip


def test_a_spoilt_file_is_refused_or_says_the_same(_keys):
    private, public = _keys
    whole, draw, refused = channel_bytes(CHANNEL, private), random.Random(0), 0
    for _ in range(400):
        try:
            assert channel_from_bytes(spoilt(whole, draw), key_id(public), "here").channel == CHANNEL
        except ChannelError:
            refused += 1
    assert refused > 380


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Invalid JSON"),
        ("[]", "should be an object"),
        ('{"format": 1}', "version: Field required"),
        (CHANNEL.model_dump_json().replace('"format":1', '"format":2'), "format: Input should be 1"),
        (CHANNEL.model_dump_json().replace('"version":1', '"version":1e400'), "version: Input should be a finite"),
        (CHANNEL.model_dump_json().replace('"ring":1', '"ring":9'), "ring: Input should be less than"),
        (CHANNEL.model_dump_json().replace('"plate"', '"\\ud800"'), "Invalid JSON"),
    ],
)
def test_what_a_newer_program_or_a_mistake_signed_is_one_message(_keys, text, words):
    private, public = _keys
    signature = signed_hash(sha256_of(text.encode()), private, b"edge-inspect channel ")
    with pytest.raises(ChannelError, match=words) as refusal:
        channel_from_bytes(json.dumps({"channel": text, **signature}).encode(), key_id(public), "here")
    assert "update edge-inspect" in refusal.value.fix


def test_the_signature_of_a_bundle_is_none_of_a_channel(_keys):
    private, public = _keys
    text = CHANNEL.model_dump_json()
    other = signed_hash(sha256_of(text.encode()), private, b"edge-inspect bundle manifest ")
    with pytest.raises(ChannelError, match="the signature does not fit"):
        channel_from_bytes(json.dumps({"channel": text, **other}).encode(), key_id(public), "here")
