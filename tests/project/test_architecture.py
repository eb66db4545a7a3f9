"""Who may import whom, one way: read from the source, and tried with everything optional blocked."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from tests.paths import ROOT

OURS = ("edge", "training", "export", "calibration", "benchmarks")
MAY_IMPORT = {
    "edge": {"edge"},
    "training": {"training", "edge"},
    "export": {"export", "edge"},
    "calibration": {"calibration", "edge", "export"},
    "benchmarks": {"benchmarks", "edge", "export", "calibration"},
}
# the rooms of `edge`: a module imports from its own room, and from those further left
ROOMS = (
    "core", "metrics", "samples", "pages", "capture", "preprocessing", "kernels", "monitoring", "bundles", "backends",
    "records", "review", "system", "plant", "inspection", "fleet", "web", "cli",
)  # fmt: skip
NOT_ON_THE_DEVICE = {"torch", "onnx", "onnxscript", "sklearn", "scipy"}
# optional or slow to import: only inside the function that needs them
LAZY = {
    "tensorrt", "pycuda", "openvino", "onnxruntime", "rich", "matplotlib", "jinja2", "prometheus_client", "paho",
    "pymodbus", "gpiod", "pyarrow", "ray",
}  # fmt: skip
# the pages are a program beside the line, and nothing but their command imports them: they are made of their extra
PAGES = "edge.web"
LAZY_BUT_IN_PAGES = {"starlette", "uvicorn", "anyio"}
# the server of OPC UA is a thread of `publish`, and is made of its extra as the pages are
OPCUA = "edge.plant.opcua"

PATHS = sorted(path for package in OURS for path in (ROOT / package).rglob("*.py"))


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_name(path): path for path in PATHS}


@dataclass(frozen=True)
class Import:
    """module: absolute; "." for a relative one. inside: in a function, so not run when the module is imported."""

    module: str
    line: int
    inside: bool

    @property
    def top(self) -> str:
        return self.module.split(".")[0]


def _imports(path: Path) -> Iterator[Import]:
    """Imports under `if TYPE_CHECKING:` never run, and are left out."""

    def visit(node: ast.AST, inside: bool) -> Iterator[Import]:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                module = "." if node.level else whole if whole in MODULES else str(node.module)
                yield Import(module, node.lineno, inside)
        inside = inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, inside)

    yield from visit(ast.parse(path.read_text(encoding="utf-8")), False)


IMPORTS = {name: list(_imports(path)) for name, path in MODULES.items()}


def _refused(name: str, found: Import) -> str | None:
    """Why a module must not have this import; None when it may."""
    package, in_cli = name.split(".")[0], name.startswith("edge.cli")
    if found.module == ".":
        return "imports are absolute"
    if found.top in LAZY and not found.inside:
        return "only inside a function"
    if found.top in LAZY_BUT_IN_PAGES and not name.startswith(PAGES):
        return "only the pages know it"
    if found.module.startswith(PAGES) and not name.startswith(PAGES) and not found.inside:
        return "only inside the function that serves the pages"
    if (found.top == "asyncua" or found.module.startswith(OPCUA)) and not name.startswith(OPCUA) and not found.inside:
        return "only inside the function that serves OPC UA"
    if package == "edge" and found.top in NOT_ON_THE_DEVICE:
        return "the device has no such package"
    if found.top == "tests":
        return "the product does not know its tests"
    if found.top in OURS and found.top not in MAY_IMPORT[package]:
        # a command imports the package that owns its work; calibration makes bundles of what training learned; a study
        # is run from a checkout only, where all of it is
        in_study = name.startswith("benchmarks.studies.")
        allowed = in_cli or in_study or (package, found.top) == ("calibration", "training")
        if not allowed or not found.inside:
            return f"`{package}` knows only {sorted(MAY_IMPORT[package])}, others only inside a function of a command"
    return None


def test_a_module_imports_only_what_its_package_may():
    offenders = [
        f"{name}:{found.line} imports {found.module}: {why}"
        for name, imports in IMPORTS.items()
        for found in imports
        if (why := _refused(name, found)) is not None
    ]
    assert not offenders, "\n".join(offenders)


def test_a_room_of_edge_imports_only_rooms_below_it():
    def room(module: str) -> str | None:
        parts = module.split(".")
        return parts[1] if parts[0] == "edge" and len(parts) > 1 and parts[1] != "__main__" else None

    assert {room(name) for name in MODULES} - {None} == set(ROOMS), "every room has its place in ROOMS"
    offenders = [
        f"{name}:{found.line} imports {found.module}"
        for name, imports in IMPORTS.items()
        for found in imports
        if (own := room(name)) and (other := room(found.module)) and ROOMS.index(other) > ROOMS.index(own)
    ]
    assert not offenders, "\n".join(offenders)


def _circle(folder: str) -> list[str]:
    """Files and sub-folders of a package that import one another in a circle; empty when there is none."""
    arrows: dict[str, set[str]] = {}
    for name, imports in IMPORTS.items():
        own = _child(folder, name)
        if own is not None:
            others = {_child(folder, found.module) for found in imports} - {None, own}
            arrows.setdefault(own, set()).update(str(other) for other in others)
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def _child(folder: str, module: str) -> str | None:
    inside = module.removeprefix(folder + ".") if folder else module
    return inside.split(".")[0] if (module in MODULES and inside != module) or not folder else None


def test_no_folder_holds_a_circle():
    folders = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    assert len(folders) > 30
    circles = {folder: circle for folder in folders if (circle := _circle(folder))}
    assert not circles, circles


def test_no_files_import_one_another_in_a_circle():
    arrows = {name: {found.module for found in imports} & set(MODULES) - {name} for name, imports in IMPORTS.items()}
    TopologicalSorter(arrows).prepare()


def test_a_folder_can_be_taken_in_at_a_glance():
    crowded = {}
    for folder in {path.parent for path in PATHS}:
        entries = [
            path for path in folder.iterdir() if not path.name.startswith(("__", ".")) and path.suffix != ".fatbin"
        ]
        # `edge` holds its rooms, which ROOMS and ARCHITECTURE.md list
        if len(entries) > (len(ROOMS) if folder == ROOT / "edge" else 15):
            crowded[str(folder.relative_to(ROOT))] = len(entries)
    assert not crowded, crowded


BLOCKED = sorted((set(OURS) - {"edge"}) | NOT_ON_THE_DEVICE | LAZY | LAZY_BUT_IN_PAGES | {"asyncua"})
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
    names = [name for name in MODULES if name.startswith("edge") and not name.startswith((PAGES, OPCUA))]
    result = _run(IMPORT_ALL, ",".join(BLOCKED), *names)
    assert result.returncode == 0, result.stderr


def test_the_block_of_the_test_above_works():
    result = _run(IMPORT_ALL, ",".join(BLOCKED), "training")
    assert "training is blocked" in result.stderr


def test_expert_rules_load_without_torch_and_its_kin():
    modules = [name for name in MODULES if name.startswith(("training.rules", "training.labelling"))]
    assert len(modules) > 10
    result = _run(IMPORT_ALL, ",".join(NOT_ON_THE_DEVICE | LAZY), *modules, "training.data.dataset")
    assert result.returncode == 0, result.stderr


def test_settings_load_without_cv2_and_numpy():
    result = _run("import sys, edge.core.config; print(sorted({'cv2', 'numpy'} & set(sys.modules)))")
    assert result.stdout.strip() == "[]", result.stdout + result.stderr
