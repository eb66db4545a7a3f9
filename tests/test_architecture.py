"""Who may import whom, one way; read from the source, and tried with everything optional blocked."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = {"edge", "training", "export", "calibration", "benchmarks"}
MAY_IMPORT = {
    "edge": {"edge"},
    "training": {"training", "edge"},
    "export": {"export", "edge"},
    "calibration": {"calibration", "edge", "export"},
    "benchmarks": {"benchmarks", "edge", "export", "calibration"},
}
NOT_ON_THE_DEVICE = {"torch", "onnx", "onnxscript", "sklearn", "scipy"}
# optional or slow to import: only inside the function that needs them
LAZY = {"tensorrt", "pycuda", "openvino", "onnxruntime", "rich", "matplotlib"}

MODULES = sorted(path for package in OURS for path in (ROOT / package).rglob("*.py"))
EDGE_MODULES = [path for path in MODULES if path.is_relative_to(ROOT / "edge")]


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(path: Path) -> list[tuple[str, int, bool]]:
    """(top-level package, line, inside a function) of every import; a relative one counts as ".".

    Imports under `if TYPE_CHECKING:` never run, and are left out.
    """
    found: list[tuple[str, int, bool]] = []

    def visit(node: ast.AST, inside: bool) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.Import):
            found.extend((alias.name.split(".")[0], node.lineno, inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.append(("." if node.level else str(node.module).split(".")[0], node.lineno, inside))
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "needs":
            # edge/cli/optional.py imports by name
            found.append((ast.literal_eval(node.args[0]).split(".")[0], node.lineno, inside))
        inside = inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.iter_child_nodes(node):
            visit(child, inside)

    visit(ast.parse(path.read_text(encoding="utf-8")), False)
    return found


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_a_module_imports_only_what_its_package_may(path):
    package = path.relative_to(ROOT).parts[0]
    is_cli = path.is_relative_to(ROOT / "edge" / "cli")
    for imported, line, inside in _imports(path):
        where = f"{path.relative_to(ROOT)}:{line} imports {imported}"
        assert imported != ".", f"{where}: imports are absolute"
        if imported in LAZY:
            assert inside, f"{where} outside a function"
        if package == "edge":
            assert imported not in NOT_ON_THE_DEVICE, where
        if imported in OURS and imported not in MAY_IMPORT[package]:
            assert is_cli, where
            assert inside, f"{where} outside a function"
        assert imported != "tests", where


BLOCKED = sorted((OURS - {"edge"}) | NOT_ON_THE_DEVICE | LAZY)
IMPORT_ALL = """
import importlib, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ImportError(f"{name} is blocked")

BLOCKED = set(sys.argv[1].split(","))
sys.meta_path.insert(0, Blocker())
for name in sys.argv[2:]:
    importlib.import_module(name)
"""


def _run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_every_edge_module_imports_where_nothing_optional_is_installed():
    result = _run(IMPORT_ALL, ",".join(BLOCKED), *map(_name, EDGE_MODULES))
    assert result.returncode == 0, result.stderr


def test_the_block_of_the_test_above_works():
    result = _run(IMPORT_ALL, ",".join(BLOCKED), "training")
    assert "training is blocked" in result.stderr


def test_expert_rules_load_without_torch_and_its_kin():
    modules = [path for path in MODULES if path.is_relative_to(ROOT / "training" / "knowledge")]
    assert modules
    result = _run(IMPORT_ALL, ",".join(NOT_ON_THE_DEVICE | LAZY), *map(_name, modules), "training.dataset")
    assert result.returncode == 0, result.stderr


def test_settings_load_without_cv2_and_numpy():
    result = _run("import sys, edge.config; print(sorted({'cv2', 'numpy'} & set(sys.modules)))")
    assert result.stdout.strip() == "[]", result.stdout + result.stderr
