"""Take the pictures of docs/line/web.md: the pages of the demo, in a real Chromium, as small JPEG files.

Needs playwright and a Chromium of the system. The sample line runs as `edge-inspect demo --web` runs it.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.program import option, program
from benchmarks.results_file import ROOT
from edge.core.errors import MissingDependency, install_extra
from edge.core.progress import say

_START_S, _WAIT_S = 120, 120
_QUALITY = 82


@dataclass(frozen=True)
class Shot:
    """One picture. ready: JavaScript that is true when the page shows what the picture is about."""

    name: str
    path: str
    size: tuple[int, int]
    ready: str
    shown_px: int


_VERDICT = (
    "document.querySelector('.word')?.innerText == 'NG' && document.querySelector('.preview img')?.naturalWidth > 400 "
    "&& document.querySelectorAll('.strip li').length > 15"
)
_PICTURES = "[...document.images].every(image => image.naturalWidth > 0)"
SHOTS = (
    Shot("web-line", "/line/demo", (1600, 900), _VERDICT, 1120),
    Shot("web-gallery", "/gallery", (1280, 800), _PICTURES, 960),
    Shot("web-threshold", "/engineer/threshold?value=0.6", (1280, 800), _PICTURES, 960),
    Shot("web-phone", "/line/demo", (390, 780), _VERDICT, 330),
)


@contextmanager
def demo() -> Iterator[str]:
    """The address of the pages of a demo that runs."""
    with tempfile.TemporaryDirectory() as place:
        process = subprocess.Popen(
            [sys.executable, "-m", "edge", "demo", "--web"], cwd=place, stderr=subprocess.PIPE, text=True
        )  # fmt: skip
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if "pages at " in line:
                    yield line.split("pages at ")[1].split(";")[0]
                    return
            raise MissingDependency("the demo ended before it showed pages", fix=install_extra("web"))
        finally:
            process.terminate()
            process.wait(_START_S)


def take(browser: Any, address: str, shot: Shot, folder: Path) -> None:
    """Write one picture."""
    from PIL import Image

    context = browser.new_context(viewport={"width": shot.size[0], "height": shot.size[1]}, color_scheme="light")
    page = context.new_page()
    page.goto(address + shot.path)

    def is_ready() -> bool:
        return bool(page.evaluate(shot.ready))

    # the picture follows its verdict within half a second
    _until(lambda: is_ready() and _stays(is_ready), shot.name)
    picture = Image.open(io.BytesIO(page.screenshot()))
    context.close()
    height = round(picture.height * shot.shown_px / picture.width)
    file = folder / f"{shot.name}.jpg"
    picture.convert("RGB").resize((shot.shown_px, height), Image.Resampling.LANCZOS).save(file, quality=_QUALITY)
    say(f"{file}: {file.stat().st_size / 1000:.0f} kB")


def _stays(true: Callable[[], bool]) -> bool:
    time.sleep(1.0)
    return true()


def _until(true: Callable[[], bool], name: str) -> None:
    end = time.monotonic() + _WAIT_S
    while not true():
        if time.monotonic() > end:
            raise MissingDependency(f"{name}: the page never showed what it should", fix="look at it in a browser")
        time.sleep(0.05)


@program(option("--out", type=Path, default=ROOT / "docs" / "line", help="folder (default: docs/line)"))
def main(options: argparse.Namespace) -> None:
    """Take all pictures."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise MissingDependency("playwright is not installed", fix="pip install playwright") from None
    if chromium is None:
        raise MissingDependency("no Chromium is installed", fix="apt install chromium")
    with demo() as address, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for shot in SHOTS:
            take(browser, address, shot, options.out)
        browser.close()


if __name__ == "__main__":
    raise SystemExit(main())
