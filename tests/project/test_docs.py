"""What the documents say, held against the tree: commands parse, links lead somewhere, numbers have their file."""

import re
import shlex

from edge.cli.parser import parse
from tests.paths import ROOT

PACKAGES = ("edge", "training", "export", "calibration", "benchmarks", "tests")
FOLDERS = (*PACKAGES, "docs")
PATHS = sorted([*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md"))])
DOCS = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in PATHS}
# a document speaks of the project alone: not of the place where somebody wrote it, nor of mirrors used there
FORBIDDEN = (
    "/work/", "shared/", "/home/", "/root/", "/tmp/bash",
    "pypi.org", "pythonhosted.org", "download.pytorch.org", "deb.debian.org", "proxy.golang.org", "/opt/",
)  # fmt: skip


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


def test_every_command_parses(subtests):
    for path, text in DOCS.items():
        for arguments in commands(text):
            with subtests.test(document=path, command=" ".join(arguments)):
                try:
                    parse(arguments)
                except SystemExit as stop:
                    # --help and --version end with 0
                    assert not stop.code


def test_every_relative_link_leads_somewhere():
    lost = []
    for path, text in DOCS.items():
        prose = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
        targets = re.findall(r"\]\(\s*<?([^)\s>]+)", prose) + re.findall(r"(?:src|href)=\"([^\"]+)\"", prose)
        files = [target.split("#")[0] for target in targets if not re.match(r"[a-z]+:|#", target)]
        lost += [(path, name) for name in files if not (ROOT / path).parent.joinpath(name).exists()]
    assert not lost


def test_every_result_file_named_exists():
    pattern = re.compile(r"benchmarks/results/[\w./*-]*\w")
    named = [(path, name) for path, text in DOCS.items() for name in pattern.findall(text)]
    assert named
    assert not [(path, name) for path, name in named if not list(ROOT.glob(name))]


def test_a_document_speaks_of_the_project_alone():
    assert not [(path, word) for path, text in DOCS.items() for word in FORBIDDEN if word in text]
