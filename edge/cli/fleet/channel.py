"""channel publish, advance, follow: new versions of a bundle for many boxes, which fetch and try them themselves."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pydantic import ValidationError

from edge.cli.options import positive_int, share
from edge.cli.standard_streams import printable
from edge.core.config import Settings
from edge.core.errors import UsageError
from edge.core.sections import ChannelSettings

# boxes that may not take it, and a version that was halted: a timer that runs the command shall tell somebody
_HALTED = 1


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action",
        choices=("publish", "advance", "follow"),
        help="put a bundle into a channel as its next version; widen its ring or halt it, as the boxes' reports say; "
        "on a box: fetch, try and take what the channel has",
    )
    parser.add_argument(
        "what",
        nargs="?",
        metavar="BUNDLE, FOLDER or SOURCE",
        help="publish: the bundle. advance: the channel's folder. follow: its folder or https:// address "
        "(default: channel.source)",
    )
    making = parser.add_argument_group("publish and advance")
    making.add_argument("--to", type=Path, metavar="FOLDER", help="publish: the channel's folder")
    making.add_argument("--key", type=Path, help="private key that signs the channel")
    making.add_argument(
        "--ring",
        type=int,
        choices=(1, 2, 3),
        help="for 1 %% of boxes (default), 10 %%, or all; follow: the ring that this box is in (default: channel.ring)",
    )
    making.add_argument("--version", type=positive_int, help="publish: its number (default: the next one)")
    making.add_argument("--halt", metavar="WHY", help="advance: no further box may take this version")
    making.add_argument("--reports", type=Path, help="advance: folder of the boxes' reports (default: FOLDER/reports)")
    making.add_argument(
        "--parts",
        type=positive_int,
        default=1000,
        metavar="N",
        help="advance: parts that nine of ten boxes must have judged with it before the ring grows (default, and most: "
        "1000)",
    )
    following = parser.add_argument_group("follow")
    following.add_argument("--once", action="store_true", help="look once, and say with the exit code what came of it")
    share(following, "--bundle", "--record-dir")


def execute(options: argparse.Namespace, settings: Settings) -> int:
    return {"publish": _publish, "advance": _advance, "follow": _follow}[options.action](options, settings)


def _say(what: str) -> None:
    # boxes and people say why, and a report may hold anything
    print(printable(f"edge-inspect: {what}"), file=sys.stderr, flush=True)


def _publish(options: argparse.Namespace, settings: Settings) -> int:
    from edge.fleet.channel.channel_file import ring_text
    from edge.fleet.channel.publish import publish

    if options.what is None or options.to is None or options.key is None:
        raise UsageError("`channel publish` lacks an option", fix="give BUNDLE --to FOLDER --key PRIVATE_KEY")
    made = publish(Path(options.what), options.to, options.key, ring=options.ring or 1, version=options.version)
    channel = made.channel
    _say(
        f"{options.to}: version {channel.version} of {channel.product}, bundle {channel.manifest.sha256[:16]}, for "
        f"{ring_text(channel.ring)}; {made.new_bytes / 1e6:.1f} of {made.all_bytes / 1e6:.1f} MB are new"
    )
    return 0


def _advance(options: argparse.Namespace, settings: Settings) -> int:
    from edge.fleet.channel.channel_file import ring_text
    from edge.fleet.channel.publish import advance

    if options.what is None or options.key is None:
        raise UsageError("`channel advance` lacks an option", fix="give FOLDER --key PRIVATE_KEY")
    if options.ring is not None and options.halt is not None:
        raise UsageError("--ring and --halt: one widens, the other stops", fix="give one of them")
    step = advance(
        Path(options.what), options.key,
        ring=options.ring, halt=options.halt, reports=options.reports, parts=options.parts,
    )  # fmt: skip
    words = {
        "halt": "halted",
        "halted": "stays halted",
        "widen": f"now for {ring_text(step.channel.ring)}",
        "wait": f"stays at {ring_text(step.channel.ring)}",
    }
    _say(f"version {step.channel.version}: {words[step.action]}; {step.why}")
    return _HALTED if step.channel.halted else 0


def _follow(options: argparse.Namespace, settings: Settings) -> int:
    """0 where there is nothing to mend: the version is live, or not yet for this box."""
    from edge.fleet.channel.box import follow

    given = {"source": options.what, "ring": options.ring}
    channel = _with(settings.channel, {name: value for name, value in given.items() if value is not None})
    settings = settings.model_copy(update={"channel": channel})
    where = settings.channel.source
    if not options.once and where is not None:
        _say(f"following {where} every {settings.channel.poll_s:g} s; Ctrl-C ends it")
    look = follow(settings, _say, once=options.once)
    if look.failure is not None:
        raise look.failure
    report = look.report
    _say(f"{report.state}: {report.why or f'version {report.version} of {where}'}")
    return _HALTED if report.state in ("refused", "halted") else 0


def _with(channel: ChannelSettings, given: dict[str, object]) -> ChannelSettings:
    from edge.core.files.settings_file import reason_of

    try:
        return ChannelSettings.model_validate({**channel.model_dump(), **given})
    except ValidationError as error:
        raise UsageError(reason_of(error), fix="give a folder, or https://HOST/PATH") from error
