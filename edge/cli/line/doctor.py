"""doctor: what this machine can run, and how to mend what it cannot."""

from __future__ import annotations

import argparse

from edge.cli.options import share
from edge.cli.standard_streams import show
from edge.core.config import Settings


def add_options(parser: argparse.ArgumentParser) -> None:
    share(parser, "--bundle")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def execute(options: argparse.Namespace, settings: Settings) -> int:
    """1 when something prevents inspection."""
    from edge.bundles.description import described_in_a_line
    from edge.inspection.challenges.readiness import challenge_findings
    from edge.inspection.inspectors import bundle_path
    from edge.inspection.recipes.findings import recipe_findings
    from edge.system.doctor import diagnose
    from edge.system.findings import State, findings_json, findings_table, worst

    if settings.group.cameras:
        from edge.inspection.group.findings import group_findings

        findings = diagnose(settings, None) + group_findings(settings, described_in_a_line)
    else:
        path = bundle_path(settings)
        findings = [*diagnose(settings, path, check_bundle=described_in_a_line), *challenge_findings(path, settings)]
    findings += recipe_findings(settings)
    if options.json:
        print(findings_json(findings))
    else:
        show(findings_table(findings))
    return 1 if worst(findings) is State.FAIL else 0
