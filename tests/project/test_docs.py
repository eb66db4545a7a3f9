"""What the documents say, held against the tree: commands parse, links lead somewhere, numbers have their file."""

import re
import shlex
from pathlib import Path

import pytest

from edge.cli.parser import parse
from edge.core.errors import UsageError
from tests.paths import ROOT

PACKAGES = ("edge", "training", "export", "calibration", "benchmarks", "tests")
FOLDERS = (*PACKAGES, "docs")
DOCS = sorted([*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md"))])
# a document speaks of the project alone: not of the place where somebody wrote it, nor of mirrors used there
FORBIDDEN = (
    "/work/", "shared/", "/home/", "/root/", "/tmp/bash",
    "pypi.org", "pythonhosted.org", "download.pytorch.org", "deb.debian.org", "proxy.golang.org", "/opt/",
)  # fmt: skip


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _code_blocks(text: str) -> list[str]:
    return re.findall(r"^```[^\n]*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[list[str]]:
    """The arguments of every `edge-inspect` command in code blocks, without prompts and comments."""
    found = []
    for block in _code_blocks(text):
        for line in block.replace("\\\n", " ").splitlines():
            words = re.sub(r"^\s*\$\s+", "", line).strip()
            if words == "edge-inspect" or words.startswith("edge-inspect "):
                command = re.split(r"\s(?:\||>|2>|&&|;)", words, maxsplit=1)[0]
                found.append(shlex.split(command, comments=True)[1:])
    return found


def test_commands_are_found_in_code_blocks_only():
    text = "edge-inspect no\n```bash\n$ edge-inspect run --a 'b c'  # why\nedge-inspect \\\n  doctor | less\n```\n"
    assert commands(text) == [["run", "--a", "b c"], ["doctor"]]


@pytest.mark.parametrize("path", DOCS, ids=_name)
def test_every_command_parses(path):
    for arguments in commands(path.read_text(encoding="utf-8")):
        try:
            parse(arguments)
        except UsageError as error:
            pytest.fail(f"{_name(path)}: edge-inspect {' '.join(arguments)}: {error}")
        except SystemExit as stop:
            # --help and --version end with 0
            assert not stop.code


@pytest.mark.parametrize("path", DOCS, ids=_name)
def test_every_relative_link_leads_somewhere(path):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\(\s*<?([^)\s>]+)", text) + re.findall(r"(?:src|href)=\"([^\"]+)\"", text)
    for target in targets:
        if re.match(r"[a-z]+:|#", target):
            continue
        assert (path.parent / target.split("#")[0]).exists(), f"{_name(path)} links to {target}"


@pytest.mark.parametrize("path", DOCS, ids=_name)
def test_every_result_file_named_exists(path):
    for name in re.findall(r"benchmarks/results/[\w./*-]*\w", path.read_text(encoding="utf-8")):
        assert list(ROOT.glob(name)), f"{_name(path)} names {name}"


@pytest.mark.parametrize("path", DOCS, ids=_name)
def test_a_document_speaks_of_the_project_alone(path):
    text = path.read_text(encoding="utf-8")
    assert not [word for word in FORBIDDEN if word in text]
