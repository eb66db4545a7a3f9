"""The methods, by name."""

from __future__ import annotations

from edge.errors import UsageError
from training.methods.base import Method
from training.methods.kist import Kist
from training.methods.sparsity_prior import SparsityPrior

METHODS: dict[str, Method] = {"kist": Kist(), "sparsity_prior": SparsityPrior()}


def find_method(name: str, variant: str) -> Method:
    """The method, checked to have the variant; raises UsageError naming what there is."""
    if name not in METHODS:
        raise UsageError(f"unknown method {name!r}", fix=f"choose one of: {', '.join(METHODS)}")
    method = METHODS[name]
    if variant not in method.variants:
        raise UsageError(f"{name} has no variant {variant!r}", fix=f"choose one of: {', '.join(method.variants)}")
    return method
