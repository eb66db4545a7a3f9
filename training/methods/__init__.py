"""The methods, by name."""

from __future__ import annotations

from edge.core.errors import UsageError
from training.methods.base import Method
from training.methods.isstad import Isstad
from training.methods.kist import Kist
from training.methods.memory import Memory
from training.methods.slsg import Slsg
from training.methods.sparsity_prior import SparsityPrior

METHODS: dict[str, Method] = {method.name: method for method in (Memory(), Kist(), SparsityPrior(), Isstad(), Slsg())}


def find_method(name: str, variant: str) -> Method:
    """The method, checked to have the variant; raises UsageError naming what there is."""
    if name not in METHODS:
        raise UsageError(f"unknown method {name!r}", fix=f"choose one of: {', '.join(METHODS)}")
    method = METHODS[name]
    if variant not in method.variants:
        raise UsageError(f"{name} has no variant {variant!r}", fix=f"choose one of: {', '.join(method.variants)}")
    return method
