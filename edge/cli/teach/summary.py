"""The end of `teach`: what was made, what it finds, and what would make it better, for whoever runs the line."""

from __future__ import annotations

import argparse
import json
import shlex
from typing import TYPE_CHECKING, Any

from edge.cli.options import AUTO, MEMORY
from edge.cli.teach.start import improve_options, run_options
from edge.core.config import Settings
from edge.core.progress import say
from edge.core.redact import redact

if TYPE_CHECKING:
    from calibration.findings.advice import DefectsFound
    from calibration.samples.sample_folder import SampleFolder
    from edge.bundles.bundle import ModelBundle


def show_summary(
    bundle: ModelBundle,
    folder: SampleFolder,
    options: argparse.Namespace,
    settings: Settings,
    left_out: int,
    found: DefectsFound,
    tips: list[str],
) -> None:
    """What was made, what it finds and promises; the figures behind it with --details."""
    from calibration.auto.contenders import run_folder
    from calibration.findings.findings import findings_of
    from calibration.findings.what_if import what_if_lines

    precision, record_folder = bundle.precision("auto"), folder.run_directory
    if options.method == AUTO:
        record_folder = run_folder(record_folder, MEMORY)
    record, calibration = bundle.manifest.training, bundle.calibration(precision)
    out = f"; {left_out} left out" if left_out else ""
    choices = what_if_lines(calibration, findings_of(bundle, precision))
    lines = [
        ("learned from", f"{record.n_train} good parts; {record.n_heldout} it has not seen set its limit{out}"),
        ("finds", found.text()),
        *(("its limit" if number == 0 else "", line) for number, line in enumerate(choices)),
        *(("would help" if number == 0 else "", tip) for number, tip in enumerate(tips if found.little else ())),
        ("change it", shlex.join(["edge-inspect", "threshold", "--bundle", str(bundle.path), "--false-reject", "..."])),
        ("look at", f"{record_folder / 'sheet.png'}: what it makes of parts it has not seen"),
        ("inspect", shlex.join(["edge-inspect", *map(redact, run_options(bundle, options, settings))])),
    ]
    if options.method == AUTO and not options.start:
        better = shlex.join(["edge-inspect", *map(str, improve_options(bundle, folder, options))])
        lines.append(("better", f"{better}: learns one beside the running line, in about {options.minutes:g} min"))
    if options.details:
        lines += [("details" if number == 0 else "", line) for number, line in enumerate(_details(bundle, precision))]
    state = f"made, but it {found.little}" if found.little else "ready"
    say(f"\n{options.product} is {state}: {bundle.path}")
    for name, text in lines:
        say(f"  {name:<13} {text}")


def _details(bundle: ModelBundle, precision: str) -> list[str]:
    from edge.bundles.threshold_report import statement

    record, deployed = bundle.manifest.training, bundle.manifest.deployments.get("cpu")
    runs = precision if deployed is None else f"{precision} on {deployed.backend}"
    lines = [f"{bundle.manifest.method} {bundle.manifest.variant}, {record.steps} steps, runs in {runs}"]
    if "gate_cpu" in bundle.manifest.files:
        report: dict[str, Any] = json.loads(bundle.read("gate_cpu"))[-1]
        auroc = "not known" if report["auroc"] is None else f"{report['auroc'][1]:.3f}"
        lines.append(f"{report['defects']} on parts it has not seen: image AUROC {auroc} (0.5 is chance)")
    return [*lines, *statement(bundle.calibration(precision))]
