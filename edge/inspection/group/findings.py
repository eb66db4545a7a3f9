"""For `doctor`: whether a group of cameras can be judged, camera by camera."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from edge.capture.group.opening import refuse_unpaired
from edge.core.config import Settings
from edge.core.errors import CameraError
from edge.inspection.challenges.readiness import challenge_findings
from edge.inspection.inspectors import bundle_path
from edge.system.doctor import bundle_finding
from edge.system.findings import Finding, State


def group_findings(settings: Settings, check_bundle: Callable[[Path], str] | None) -> list[Finding]:
    """How the pictures of the settings' group are paired, and each camera's bundle and challenge."""
    names = ", ".join(settings.group.names)
    try:
        refuse_unpaired(settings)
    except CameraError as error:
        findings = [Finding("group", State.FAIL, error.message, error.fix)]
    else:
        findings = [Finding("group", State.OK, f"{names}; trigger.mode {settings.trigger.mode}")]
    for name in settings.group.names:
        own = settings.of_camera(name)
        path = bundle_path(own)
        for finding in (bundle_finding(path, check_bundle), *challenge_findings(path, own)):
            findings.append(replace(finding, name=f"{finding.name} {name}"))
    return findings
