"""Every command by its name. The module of a command is imported when it is called, or when its --help is asked."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from dataclasses import dataclass

from edge.core.config import Settings
from edge.core.errors import UsageError


@dataclass(frozen=True)
class Command:
    """module: of edge.cli; it has `add_options(parser)` and `execute(options, settings)`, which gives the exit code.

    extra: the extra of pip without which the command cannot begin. in_front: the command inspects, starts to, or
    measures how fast inspection is; all others step back for an inspection on the same cores. one_camera: it works
    for one camera, and of a group it must be told which.
    """

    module: str
    help: str
    extra: str = ""
    in_front: bool = False
    needs_camera: bool = False
    one_camera: bool = False

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        importlib.import_module(f"edge.cli.{self.module}").add_options(parser)

    def execute(self, options: argparse.Namespace, settings: Settings) -> int:
        call: Callable[[argparse.Namespace, Settings], int]
        call = importlib.import_module(f"edge.cli.{self.module}").execute
        return call(options, settings)


COMMANDS = {
    "run": Command(
        "line.run", "inspect a camera, stream, video or folder (what edge-inspect does without a command)",
        in_front=True, needs_camera=True,
    ),
    "demo": Command("line.demo", "inspect the shipped sample line", in_front=True),
    "teach": Command(
        "teach.command", "from good parts to a running inspection, step by step", "train",
        in_front=True, needs_camera=True, one_camera=True,
    ),
    "train": Command("making.train", "good parts in, calibrated bundle out: fit, export, quantize, calibrate", "train"),
    "fit": Command("making.fit", "train a network on good parts", "train"),
    "export": Command(
        "making.export", "write a trained network as FP32 ONNX into a new bundle; build the engine of a target"
    ),
    "quantize": Command("making.quantize", "write the INT8 network of a bundle, from ranges on good parts", "export"),
    "calibrate": Command("making.calibrate", "fit statistics and threshold through the backend that will run"),
    "golden": Command("making.golden", "compare each picture with a defect-free one, beside the network"),
    "recalibrate": Command(
        "making.recalibrate", "new good parts in, a new version of the bundle out, checked, beside the old", "export",
        one_camera=True,
    ),
    "gate": Command(
        "making.gate", "do verdicts survive? replay good and defective parts through FP32 and what runs"
    ),
    "improve": Command(
        "making.improve", "learn a better network beside a running line; it takes over where it is better", "train"
    ),
    "threshold": Command(
        "bundles.threshold", "what the threshold promises; change it without export, under a running inspection"
    ),
    "defects": Command("making.defects", "draw artificial defects on good parts, on a contact sheet", "train"),
    "history": Command("bundles.history", "who changed a bundle, when, from what, and what the gate said"),
    "rollback": Command("bundles.rollback", "go back to the previous version of a bundle, or another one"),
    "bundle": Command("bundles.bundle", "show what a bundle is, verify it, sign it"),
    "evaluate": Command("measuring.evaluate", "measure a bundle on labelled test pictures", one_camera=True),
    "rules": Command("making.rules", "check an expert's rules about defects, or look at the starters"),
    "compare": Command("measuring.compare", "train every method on the same parts and recommend one", "train"),
    "benchmark": Command(
        "measuring.benchmark", "how long a frame takes, where the time goes, and what changed", in_front=True,
        one_camera=True,
    ),
    "doctor": Command("line.doctor", "tell what this machine can run, and what to mend", in_front=True),
    "challenge": Command(
        "line.challenge", "start of shift: golden parts must be OK and defects NG before the line is ready",
        in_front=True, one_camera=True,
    ),
    "publish": Command("line.publish", "a line's verdicts, alarms and state to an MQTT broker, and over OPC UA"),
    "channel": Command("fleet.channel", "new versions of a bundle for many boxes: publish and follow them", "sign"),
    "records": Command("fleet.records", "a line's verdicts and labels as Parquet files, for many boxes", "parquet"),
    "recipe": Command("line.recipe", "what a line can judge, and the change of a running line to another product"),
    "simulate": Command(
        "line.simulate", "play the PLC against a running line, and tell whether it keeps the handshake", "plc",
        in_front=True,
    ),
    "web": Command("line.web", "pages for browsers: what each line does, its rejects and its shift reports", "web"),
    "service": Command("line.service", "make a line a service of systemd, with watchdog and sandbox"),
    "replay": Command("line.replay", "judge a recorded picture again; it must give the recorded verdict"),
    "reinspect": Command(
        "fleet.reinspect", "judge an archive of recorded pictures again with another bundle, and tell what flips",
        "parquet",
    ),
    "report": Command("line.report", "counts, defect rate and latency from the records"),
    "review": Command("line.review", "people say what parts are: which verdicts are wrong, and how many"),
    "labels": Command(
        "line.labels", "labelled defects to where a network learns from them, and to the challenge", one_camera=True
    ),
}  # fmt: skip

_GATE = "edge-inspect gate --bundle BUNDLE --data NORMALS"
# (command, an option it had in an earlier version) → what replaces it
REPLACED_OPTIONS = {
    ("export", "--check"): _GATE,
    ("export", "--ng"): f"{_GATE} --ng FOLDER",
    ("export", "--json"): f"{_GATE} --json",
    ("export", "--page"): f"{_GATE} --page FILE",
}


def refuse_replaced(command: str, option: str) -> None:
    """Raises UsageError where the command had this option in an earlier version."""
    replacement = REPLACED_OPTIONS.get((command, option))
    if replacement is not None:
        raise UsageError(f"`{command}` has no {option} any more", fix=f"`{replacement}` replaces it")
