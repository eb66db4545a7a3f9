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
_SECRET_KEY = re.compile(_SECRET, re.IGNORECASE)

# what was meant to be an address, without its scheme
_WHOLE_USER_INFO = re.compile(r"[\w.%+-]+:[^\n]*@")
_USER = re.compile(r"(?<![\w.%+-])[\w.%+-]+:")
_WORD = re.compile(r"\S+")
_QUERY = re.compile(r"(?P<rest>\?(?=[\w.%-]+=)[^\n]*)")
# an address ends with its line: a password may hold blanks, and too much hidden is better than too little
_ADDRESS = re.compile(r"(?<=\w)(?P<sign>:/{1,2})(?P<whole>[^\n]*)")
_ADDRESS_IN_PIPELINE = re.compile(r"(?P<sign>://)(?P<whole>[^\s\"']*)")
# as far as the next property, and once these are hidden, as far as the end
_USER_INFO_OF_PROPERTY = re.compile(r"://(?:(?!\s+[\w.%-]+\s*=)[^\n])*@")
_USER_INFO_IN_PIPELINE = re.compile(r"://[^\n]*@")
_IP = re.compile(r"\d+\.\d+\.\d+\.\d+(?![\w.])|\[[0-9a-fA-F:.]+\]")
# a colon that is not that of a port, nor one of a sentence
_PASSWORD = re.compile(r":(?!\d*(?:[\s:,;'\")!]|$))")
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
    if " ! " in text:
        text = _without_properties(_USER_INFO_OF_PROPERTY.sub(f"://{HIDDEN}@", text))
        text = _USER_INFO_IN_PIPELINE.sub(f"://{HIDDEN}@", text)
        text = _ADDRESS_IN_PIPELINE.sub(_without_secrets, text)
    elif _ADDRESS.search(text):
        text = _ADDRESS.sub(_without_secrets, text)
    else:
        whole = _WHOLE_USER_INFO.match(text)
        text = text if whole is None else f"{HIDDEN}@{text[whole.end() :]}"
        text = _QUERY.sub(lambda found: _without_values(found["rest"]), _WORD.sub(_without_user_info, text))
    return _IN_TEXT.sub(lambda found: found[0] if found[2].startswith(HIDDEN) else f"{found[1]}{HIDDEN}", text)


def _without_user_info(found: re.Match[str]) -> str:
    """A word of a text, without the user and the password that stand in it before an @."""
    head, at, host = found[0].rpartition("@")
    user = _USER.search(head)
    return found[0] if not at or user is None else f"{head[: user.start()]}{HIDDEN}@{host}"


def _without_secrets(found: re.Match[str]) -> str:
    """One address, from its :// on, or :/, a slip of the finger.

    Where an @ may end a password or stand in a path, both are hidden.
    """
    authority, rest = _divided(found["whole"])
    start = found["sign"]
    _, at, last = found["whole"].rpartition("@")
    has_user = "@" in authority or _PASSWORD.search(_IP.sub("", authority)) is not None
    if not at:
        return f"{start}{HIDDEN if has_user else authority}{_without_values(rest)}"
    if not has_user:
        # the @ is of the path, unless what looks like host and port begins a user and a password
        shown = authority if ":" not in authority or _IP.match(authority) else HIDDEN
        return f"{start}{shown}{_without_values(rest)}"
    if "@" in authority and "@" in rest and not _IP.match(last):
        return f"{start}{HIDDEN}@{HIDDEN}"
    host, rest = _divided(last)
    return f"{start}{HIDDEN}@{host}{_without_values(rest)}"


def _divided(text: str) -> tuple[str, str]:
    """What stands before the first sign that ends an authority, and the rest."""
    end = _PIECE.search(text)
    return (text, "") if end is None else (text[: end.start()], text[end.start() :])


def _without_values(rest: str) -> str:
    """Path and query of an address; words stay in the path alone, and up to the first value that is hidden."""
    shown: list[str] = []
    hiding = False
    pieces = _PIECE.split(rest)
    for mark, piece in zip(pieces[1::2], pieces[2::2], strict=True):
        if "@" in piece:
            return "".join([*shown, mark, HIDDEN])
        hiding = hiding or mark in "?#"
        key, sign, value = piece.partition("=")
        if piece.startswith(HIDDEN) or value.startswith(HIDDEN) or not piece:
            hiding = True
        elif sign and not _HARMLESS.fullmatch(key):
            # after a hidden value the key may be a piece of it
            known = not any(HIDDEN in each for each in shown) or _SECRET_KEY.fullmatch(key)
            piece, hiding = f"{key}={HIDDEN}" if known else HIDDEN, True
        elif not sign and hiding:
            piece = HIDDEN
        shown.append(mark + piece)
    return "".join(shown)


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
