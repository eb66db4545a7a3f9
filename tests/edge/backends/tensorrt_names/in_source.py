"""The names of TensorRT's that our source uses, read from the source, for the version that each part serves.

`trt` is the module; a variable bears the name of its class (VARIABLES), which is checked where it is assigned.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType

from edge.backends.gpu.tensorrt_versions import Product, tensorrt_from_module
from tests.paths import ROOT

FILES = ("edge/backends/gpu/tensorrt_versions.py", "edge/backends/gpu/tensorrt_runtime.py", "export/engine.py")
VARIABLES = {
    "builder": "Builder", "config": "IBuilderConfig", "context": "IExecutionContext", "engine": "ICudaEngine",
    "error": "ParserError", "layer": "ILayer", "network": "INetworkDefinition", "parser": "OnnxParser",
    "plan": "IHostMemory", "profile": "IOptimizationProfile", "runtime": "Runtime", "runtime_cache": "IRuntimeCache",
    "runtime_config": "IRuntimeConfig", "tensor": "ITensor", "timing_cache": "ITimingCache",
}  # fmt: skip
# signatures call some classes by their C++ names
_ALIASES = {"IParserError": "ParserError"}

Table = dict[str, dict[str, str]]


@dataclass(frozen=True)
class Use:
    """A name in our source: "Builder", "Builder.create_network", or with its keywords. where: file and line."""

    class_name: str
    member: str | None
    keywords: tuple[str, ...]
    assigned_to: str | None
    where: str


def uses_on(version: str) -> list[Use]:
    """What our source asks of the TensorRT of this version."""
    return [use for function, file in _functions(version) for use in _uses(function, file)]


def problem(use: Use, table: Table) -> str | None:
    """What is wrong with a use, by the names that a version has; None: nothing."""
    members = table.get(use.class_name)
    if members is None:
        return f"{use.where}: no class {use.class_name}"
    if use.member is None:
        return _wrong_name(use, use.class_name)
    if use.member not in members:
        return f"{use.where}: {use.class_name} has no {use.member}"
    given, _, result = members[use.member].partition(" -> ")
    unknown = set(use.keywords) - set(given.strip("()").split(", "))
    if unknown:
        return f"{use.where}: {use.class_name}.{use.member} takes no {', '.join(sorted(unknown))}"
    result = result.split("::")[-1]
    return _wrong_name(use, _ALIASES.get(result, result)) if result else None


def _wrong_name(use: Use, class_name: str) -> str | None:
    known = VARIABLES.get(use.assigned_to or "")
    if known is not None and known != class_name:
        return f"{use.where}: {use.assigned_to} holds a {class_name}; its name says {known}"
    return None


def _functions(version: str) -> Iterator[tuple[ast.AST, str]]:
    """Functions that run on this version: of its class, what that does not override, and everything outside classes."""
    product: Product = "tensorrt-rtx" if version.startswith("rtx") else "tensorrt"
    module = ModuleType("trt")
    vars(module).update(__version__=version.removeprefix("rtx "), ILogger=object)
    serving = type(tensorrt_from_module(product, module))
    owners = {name: cls.__name__ for cls in reversed(inspect.getmro(serving)) for name in vars(cls)}
    versions = {cls.__name__ for cls in _with_children(inspect.getmro(serving)[-2])}
    for file in FILES:
        for node in ast.parse((ROOT / file).read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef):
                yield node, file
            elif isinstance(node, ast.ClassDef):
                for part in node.body:
                    name = getattr(part, "name", None)
                    if node.name not in versions or owners.get(name) == node.name:
                        yield part, file


def _with_children(cls: type) -> list[type]:
    return [cls, *(child for direct in cls.__subclasses__() for child in _with_children(direct))]


def _uses(function: ast.AST, file: str) -> Iterator[Use]:
    keywords: dict[ast.AST, tuple[str, ...]] = {}
    targets: dict[ast.AST, str] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Call):
            keywords[node.func] = tuple(word.arg for word in node.keywords if word.arg is not None)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            value = node.value.func if isinstance(node.value, ast.Call) else node.value
            targets[value] = node.targets[0].id
        if isinstance(node, ast.Attribute):
            found = _name(node)
            if found is not None:
                where = f"{file}:{node.lineno}"
                yield Use(*found, keywords.get(node, ()), targets.get(node), where)


def _name(node: ast.Attribute) -> tuple[str, str | None] | None:
    """trt.Class → (Class, None); trt.Class.member and variable.member → (Class, member)."""
    owner = node.value
    if node.attr.startswith("__") and node.attr != "__init__":
        return None
    if isinstance(owner, ast.Name):
        if owner.id == "trt":
            return node.attr, None
        return (VARIABLES[owner.id], node.attr) if owner.id in VARIABLES else None
    if isinstance(owner, ast.Attribute) and isinstance(owner.value, ast.Name) and owner.value.id == "trt":
        return owner.attr, node.attr
    return None
