"""Everything about the GPU on this machine, in one go: `make gpu-check`, or `python -m benchmarks.gpu.gpu_check`.

Builds the kernels, and runs the GPU tests and, where it is installed, compute-sanitizer. Measures kernels, stubs, and
engines of every product and precision. Writes benchmarks/results/<gpu>/<date>.json with a summary beside it. Each
step is a process of its own: the file holds the words of one that fails or breaks the device, and the next one runs.
What is not installed is skipped, with the reason, and is no failure. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.gpu.runtimes import RUNTIMES
from benchmarks.gpu.stub_networks import STUB_NETWORKS
from benchmarks.program import Values, option, program
from benchmarks.results_file import RESULTS, ROOT
from edge.backends.gpu.cuda_device import CudaDevice, read_cuda_device
from edge.backends.gpu.cuda_session import open_pycuda
from edge.backends.gpu.tensorrt_versions import PRODUCTS, RTX_KNOWN, RTX_TARGETS
from edge.core.errors import EdgeInspectError, MissingDependency
from edge.core.files.atomic_file import write_atomic
from edge.core.progress import say
from edge.kernels.cuda.compilers import find_nvcc
from edge.samples import sample_bundle, sample_data

SANITIZERS = ("memcheck", "racecheck", "initcheck", "synccheck")
PRECISIONS = ("int8", "fp16", "fp32")
FRAMES, LONG_RUN = 2000, 100_000
_STEP_TIMEOUT_S = 3600
_KEPT_WORDS = 4000


@dataclass(frozen=True)
class Step:
    """A command; its standard output is JSON where `figures`. trial: nobody promised that it can work here."""

    name: str
    command: tuple[str, ...]
    figures: bool = False
    trial: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of a step: skipped says why it did not run; words are the end of what it printed; trial as in Step."""

    step: str
    command: str
    seconds: float
    exit_code: int | None
    words: str
    values: dict[str, Any] | None = None
    skipped: str | None = None
    trial: bool = False

    @property
    def failed(self) -> bool:
        return self.state == "FAILED"

    @property
    def state(self) -> str:
        if self.skipped:
            return f"skipped, because {self.skipped}"
        if self.exit_code == 0:
            return "passed"
        return "refused" if self.trial else "FAILED"

    def as_dict(self) -> dict[str, Any]:
        return {"failed": self.failed, "state": self.state, **vars(self)}


def planned(
    device: CudaDevice, work: Path, frames: int, long_run: int, missing: Mapping[str, str]
) -> list[Step | Outcome]:
    """The steps of this machine, in order; an outcome where it is known already.

    missing: why a runtime or tool cannot be used here, by name; a step that needs it is skipped.
    """
    python, engines = sys.executable, str(work / "engines")
    steps: list[Step | Outcome] = []

    def add(step: Step, needs: str) -> None:
        steps.append(_skipped(step.name, missing[needs]) if needs in missing else step)

    add(Step("build the kernels", (python, "-m", "edge.kernels.cuda.build")), needs="nvcc")
    add(Step("GPU tests", (python, "-m", "pytest", "-q", "-m", "gpu", "tests")), needs="pytest")
    line = (python, "-m", "benchmarks.gpu.gpu_line", "--engines", engines, "--network")
    for tool in SANITIZERS:
        checked = (find_sanitizer() or "", "--tool", tool, "--error-exitcode", "9", *line, "copy", "--frames", "20")
        add(Step(f"compute-sanitizer {tool}", checked), needs="compute-sanitizer")
    steps.append(Step("kernels", (python, "-m", "benchmarks.gpu.kernels"), figures=True))
    for stub in STUB_NETWORKS:
        add(Step(f"line with {stub}", (*line, stub, "--frames", str(frames)), figures=True), needs=stub)
    for product in PRODUCTS:
        for variant, (targets, trial) in _targets(product, device).items():
            for precision in PRECISIONS:
                command = (*line, f"{product}-{precision}", "--frames", str(frames), *targets)
                add(Step(f"line with {product} {precision}{variant}", command, figures=True, trial=trial), product)
            pauses = (python, "-m", "benchmarks.gpu.gpu_pauses", "--engines", engines, "--network", f"{product}-fp16")
            add(Step(f"pauses with {product}{variant}", (*pauses, *targets), figures=True, trial=trial), product)
            gate = _gate(product, targets, work / f"bundle-{len(steps)}")
            add(Step(f"gate on {product}{variant}", gate, trial=trial), needs=product)
    steps.append(Step("long run", (*line, "copy", "--frames", str(long_run)), figures=True))
    return steps


def _targets(product: str, device: CudaDevice) -> dict[str, tuple[tuple[str, ...], bool]]:
    """What engines to build, by words for the step's name: options, and whether it is a trial.

    RTX builds for no GPU that it does not list; whether what it builds for others runs there, a trial shows.
    """
    capability = int(device.compute_capability.replace(".", ""))
    if product != "tensorrt-rtx" or capability in RTX_TARGETS:
        return {"": ((), False)}
    if capability in RTX_KNOWN:
        return {"": (("--compute-capability", str(capability)), False)}
    return {
        ", built for the default list": ((), True),
        ", built for 8.0": (("--compute-capability", "80"), True),
    }


def _gate(product: str, targets: tuple[str, ...], place: Path) -> tuple[str, ...]:
    """Calibrate a copy of the shipped bundle on the engine, through the precision fallback, with the gate between."""
    bundle = shutil.copytree(sample_bundle(), place)
    parts = ("--bundle", str(bundle), "--data", str(sample_data()))
    return (sys.executable, "-m", "edge", "calibrate", *parts, "--backend", product, *targets)


def missing_here() -> dict[str, str]:
    """Why each runtime or tool that is not here cannot be used; each is looked at in a process of its own."""
    missing = {}
    for name in RUNTIMES:
        found = run_step(Step(name, (sys.executable, "-m", "benchmarks.gpu.runtimes", name), figures=True))
        # one that breaks while it is looked at is there, and the steps that need it say how it breaks
        if found.values is not None and found.values["missing"] is not None:
            missing[name] = found.values["missing"]
    if find_nvcc() is None:
        missing["nvcc"] = "nvcc is not installed; the first step that needs kernels compiles them, by NVRTC"
    if not (ROOT / "tests").is_dir() or find_spec("pytest") is None:
        missing["pytest"] = "pytest or the tests are not here"
    if find_sanitizer() is None:
        missing["compute-sanitizer"] = "compute-sanitizer is not installed"
    return missing


def find_sanitizer() -> str | None:
    return shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path="/usr/local/cuda/bin")


def _skipped(step: str, why: str) -> Outcome:
    return Outcome(step, "", 0.0, None, "", skipped=why)


def run_step(step: Step) -> Outcome:
    """Run it, whatever comes of it."""
    started = time.perf_counter()
    try:
        done = subprocess.run(
            step.command, capture_output=True, text=True, timeout=_STEP_TIMEOUT_S, cwd=ROOT, env=_offline()
        )
        code, output, errors = done.returncode, done.stdout, done.stderr
    except (OSError, subprocess.TimeoutExpired) as error:
        code, output, errors = -1, "", str(error)
    values = None
    if step.figures and code == 0:
        try:
            values = json.loads(output)
        except ValueError:
            code, errors = -1, f"{errors}\nits figures are not JSON"
    words = errors if step.figures else f"{output}\n{errors}"
    seconds = round(time.perf_counter() - started, 1)
    command = " ".join(step.command).replace(sys.executable, "python")
    return Outcome(step.name, command, seconds, code, words.strip()[-_KEPT_WORDS:], values, trial=step.trial)


def _offline() -> dict[str, str]:
    return {**os.environ, "PIP_NO_INDEX": "1", "HF_HUB_OFFLINE": "1"}


def summary(values: Values) -> str:
    """The result file for a person, failures included; Markdown."""
    gpu, steps = values["gpu"], values["steps"]
    lines = [
        f"# {gpu['name']}",
        "",
        f"Compute capability {gpu['compute_capability']}, driver {gpu['driver']}, CUDA {gpu['cuda']}.",
        "",
        "| step | outcome | seconds |",
        "|---|---|---|",
    ]
    for step in steps:
        lines.append(f"| {step['step']} | {step['state']} | {step['seconds']:.0f} |")
    for step in steps:
        if step["values"] is not None:
            lines += ["", f"## {step['step']}", "", *_figures(step["values"])]
    for step in steps:
        if step["state"] in ("FAILED", "refused"):
            ended = f"`{step['command']}` ended with {step['exit_code']}:"
            lines += ["", f"## {step['state']}: {step['step']}", "", ended, ""]
            lines += ["```", step["words"], "```"]
    return "\n".join(lines) + "\n"


def _figures(values: dict[str, Any]) -> list[str]:
    """The figures that the aims are about, a line each."""
    lines = []
    for name, row in values.get("maps", {}).items():
        eager, compiled = (row.get(f"{way}_ms") for way in ("eager", "compiled"))
        lines.append(
            f"* residual and reduction `{name}`: {row['kernels_ms']} ms, {row['share_of_copy']:.0%} of the copy's rate"
            + (f", {eager / row['kernels_ms']:.1f} times as fast as torch" if eager else "")
            + (f", {compiled / row['kernels_ms']:.1f} times as torch.compile" if compiled else "")
            + (f"; maps differ by {row['map_difference']:.2g}" if "map_difference" in row else "")
        )
    for name, spent in values.get("frame_in_graph_us", {}).items():
        lines.append(f"* kernels of one frame inside the graph, `{name}`: {spent} µs")
    if "verdict_ms" in values:
        verdict, bare = values["verdict_ms"], values["bare_network_ms"]
        lines.append(
            f"* frame to verdict: p50 {verdict['p50']} ms, p99 {verdict['p99']} ms; network alone {bare['p50']} ms"
        )
        without = values["without_graph"]["verdict_ms"]
        lines.append(f"* without the CUDA graph: p50 {without['p50']} ms, p99 {without['p99']} ms")
        lines.append(f"* overhead over the network alone: {values['overhead_over_bare_us']} µs")
        lines.append(f"* nodes of the CUDA graph: {values['graph_nodes'] or 'no graph'}")
        memory = values["memory"]
        lost = memory["not_watched"] or f"{memory['lost_bytes']} bytes"
        lines.append(f"* device memory lost over {memory['frames']} frames: {lost}")
    for period, row in values.get("after_a_pause_ms", {}).items():
        times = ", ".join(f"{pause} {spent['p50']} ms" for pause, spent in row.items())
        lines.append(f"* a frame after a pause, keeping warm `{period}`: {times}")
    if "against_processor" in values:
        found = values["against_processor"]
        lines.append(
            f"* against the processor: {found['other_decisions']} of {found['pictures']} decide otherwise, scores "
            f"differ by {found['largest_score_difference_in_thresholds']:.2%} of the threshold at most"
        )
    return lines


def gpu_slug(device: CudaDevice) -> str:
    """The folder of a GPU's results: "NVIDIA H200" → nvidia-h200."""
    return re.sub(r"[^a-z0-9]+", "-", device.name.lower()).strip("-")


@program(
    option("--frames", type=int, default=FRAMES, help=f"frames of each line (default: {FRAMES})"),
    option("--long-run", type=int, default=LONG_RUN, help=f"frames of the long run (default: {LONG_RUN})"),
    option("--results", type=Path, default=RESULTS, help="where the results go"),
    option("--out", type=Path, help="result file (default: one of today in the GPU's folder of --results)"),
    show=lambda values: summary(values),
    failed=lambda values: any(step["failed"] for step in values["steps"]),
)
def main(options: argparse.Namespace) -> Values:
    """Run every step that can run here; without CUDA nothing is run."""
    try:
        device = read_cuda_device()
        open_pycuda()
    except EdgeInspectError as error:
        raise MissingDependency(
            f"nothing was run, this machine cannot run CUDA: {error.message}", fix=error.fix
        ) from error
    options.out = options.out or options.results / gpu_slug(device) / f"{datetime.now(timezone.utc):%Y-%m-%d}.json"
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder:
        steps = planned(device, Path(folder), options.frames, options.long_run, missing_here())
        for number, step in enumerate(steps, start=1):
            outcome = run_step(step) if isinstance(step, Step) else step
            outcomes.append(outcome)
            say(f"[{number}/{len(steps)}] {outcome.step}: {outcome.state}, {outcome.seconds} s")
    values = {"gpu": vars(device), "steps": [outcome.as_dict() for outcome in outcomes]}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(options.out.with_suffix(".md"), summary(values).encode())
    return values


if __name__ == "__main__":
    raise SystemExit(main())
