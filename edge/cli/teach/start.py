"""From the end of `teach` to the running inspection, and to what is learned beside it."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edge.core.config import Settings
from edge.core.progress import say

if TYPE_CHECKING:
    from calibration.samples.sample_folder import SampleFolder
    from edge.bundles.bundle import ModelBundle

_EDGE = [sys.executable, "-m", "edge"]
LOG = "improve.log"


def start_inspection(bundle: ModelBundle, options: argparse.Namespace, settings: Settings) -> None:
    """Become the inspection: a new program, so that nothing of the training stays in memory."""
    words = ["run", *run_options(bundle, options, settings)]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(_EDGE[0], [*_EDGE, *words])


def learn_beside(bundle: ModelBundle, folder: SampleFolder, options: argparse.Namespace) -> None:
    """Start `improve` as a program of its own, which goes on when this terminal ends; the line shows how it goes."""
    words = [str(word) for word in improve_options(bundle, folder, options)]
    log = folder.root / LOG
    # through a process that ends at once: nobody would be left to take the exit code of a child of this one
    parting = "import subprocess, sys; subprocess.Popen(sys.argv[1:], start_new_session=True)"
    try:
        with log.open("ab") as written:
            subprocess.run(
                [sys.executable, "-c", parting, *_EDGE, *words],
                stdin=subprocess.DEVNULL, stdout=written, stderr=written, check=True,
            )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        say(f"no better version is learned beside the line ({error}); `edge-inspect {' '.join(words)}` does it later")
        return
    say(f"a better version is learned beside the line, about {options.minutes:g} min; what it does: {log}")


def improve_options(bundle: ModelBundle, folder: SampleFolder, options: argparse.Namespace) -> list[str | Path]:
    """With which `improve` learns from the same samples."""
    # the command first: without it the words would be those of `run`
    words: list[str | Path] = ["improve", *([] if options.config is None else ["--config", options.config])]
    words += ["--bundle", bundle.path, "--data", folder.root, "--run-dir", folder.run_directory]
    words += ["--minutes", f"{options.minutes:g}", "--seed", str(options.seed)]
    return words if options.layout is None else [*words, "--layout", options.layout]


def run_options(bundle: ModelBundle, options: argparse.Namespace, settings: Settings) -> list[str]:
    """With which `run` inspects the same camera."""
    # nothing for the camera of the settings: its address is no business of the list of processes
    camera = [] if options.camera == settings.camera.source else ["--camera", options.camera]
    config = [] if options.config is None else ["--config", str(options.config)]
    return [*camera, "--bundle", str(bundle.path), *config]
