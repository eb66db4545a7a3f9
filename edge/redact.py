"""Addresses and pipelines without their secrets, to be shown, logged and stored. Imports nothing of ours.

A key is trusted only when it is known to be harmless: cameras invent too many names for a password to list them.
"""

from __future__ import annotations

import re

HIDDEN = "***"

_HARMLESS = re.compile(
    r"action|audio|brightness|cam|camera|ch|channel|chn|codec|colou?r|compression|contrast|fps|frame_?rate|frequency|"
    r"height|level|media|mirror|mode|profile|quality|rate|real_?stream|res|resolution|rotation|size|stream|sub_?type|"
    r"stream_?type|tcp|timeout|transport(_?mode)?|type|udp|unicast|video|video_?codec|width|"
    # of GStreamer
    r"bitrate|caps|clock-rate|colorimetry|device|drop|drop-frames|encoding-name|format|framerate|io-mode|is-live|latency|"
    r"leaky|location|max-(buffers|bytes|time)|max-size-(buffers|bytes|time)|name|num-buffers|pattern|payload|protocols|"
    r"pixel-aspect-ratio|sensor-id|sensor-mode|sync|uri",
    re.IGNORECASE,
)
# hidden wherever they stand, also in plain text
_SECRET = r"[\w-]*(?:pass|pwd|pw|passphrase|token|secret|key|auth|user|usr|login|sig|cred)[\w-]*"

# up to the last @ of the line: a password may hold @, /, #, ? and blanks, and too much hidden is better than too little
_USER_INFO = re.compile(r"://[^\n]*@|\b[\w.%+-]+:(?!//)\S*@")
# a password before a host that was forgotten; else a port would stand there
_NO_HOST = re.compile(r"://(?!\[)[^\s/?#:@]*:(?!\d*(?:[\s:/?#;&,'\")!]|$))[^\s/?#]*")
# what follows the host of an address, or the ? of something that was meant to be one
_AFTER_HOST = re.compile(r"(?P<host>://[^\n/?#;&]*)(?P<rest>[/?#;&][^\n]*)|(?P<query>\?(?=[\w.%-]+=)[^\n]*)")
_AFTER_HOST_IN_PIPELINE = re.compile(r"(?P<host>://[^\s\"'/?#;&]*)(?P<rest>[/?#;&][^\s\"']*)")
# before a blank a separator is one of a sentence
_PIECE = re.compile(r"([/?#&;](?!\s))")
_IN_TEXT = re.compile(rf"(?i)\b({_SECRET}\s*=\s*)(\"(?:[^\"\\]|\\.)*\"|'[^']*'|[^\s&;,\"']+)")
_PROPERTY = re.compile(
    r"(?<![\w.%-])(?P<key>[\w.%-]+)(?P<sign>\s*=\s*)(?:(?P<quoted>\"(?:[^\"\\]|\\.)*\"|'[^']*')|(?P<plain>[^\s,]*))"
    r"(?P<more>(?:(?!\s+[\w.%-]+\s*=|\s+!\s|\s*$)[^\n])*)"
)


def redact(text: str) -> str:
    """The text without user:password@, and without the values of all keys that are not known to be harmless.

    text: one address, one pipeline, or a message that names some; give the arguments of a command one by one. What has
    been redacted already stays as it is.
    """
    text = _USER_INFO.sub(lambda found: f"{'://' if found[0].startswith('://') else ''}{HIDDEN}@", text)
    text = _NO_HOST.sub(f"://{HIDDEN}", text)
    if " ! " in text:
        text = _AFTER_HOST_IN_PIPELINE.sub(_without_values, _without_properties(text))
    else:
        text = _AFTER_HOST.sub(_without_values, text)
    return _IN_TEXT.sub(lambda found: found[0] if found[2].startswith(HIDDEN) else f"{found[1]}{HIDDEN}", text)


def _without_values(found: re.Match[str]) -> str:
    """Path and query of an address; words stay in the path alone, and up to the first value that is hidden."""
    shown, hiding = [], False
    pieces = _PIECE.split(found["rest"] or found["query"])
    for mark, piece in zip(pieces[1::2], pieces[2::2], strict=True):
        hiding = hiding or mark in "?#"
        key, sign, value = piece.partition("=")
        if piece.startswith(HIDDEN) or value.startswith(HIDDEN) or not piece:
            hiding = True
        elif sign and not _HARMLESS.fullmatch(key):
            piece, hiding = f"{key}={HIDDEN}", True
        elif not sign and hiding:
            piece = HIDDEN
        shown.append(mark + piece)
    return (found["host"] or "") + "".join(shown)


def _without_properties(pipeline: str) -> str:
    """Every property that is not known to be harmless, with blanks in its value as far as the next one."""
    shown, place = [], 0
    while found := _PROPERTY.search(pipeline, place):
        end = found.end("sign")
        shown.append(pipeline[place:end])
        if not _HARMLESS.fullmatch(found["key"]) and not pipeline.startswith(HIDDEN, end):
            shown.append(HIDDEN)
            end = found.end()
        elif found["quoted"] is not None and "://" not in found["quoted"]:
            shown.append(found["quoted"])
            end = found.end("quoted")
        place = end
    return "".join(shown) + pipeline[place:]
