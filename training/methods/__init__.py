"""The methods, by name."""

from __future__ import annotations

from edge.core.errors import UsageError
from training.methods.base import Method, OutputName
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


def outputs_of(name: str, variant: str) -> tuple[OutputName, ...]:
    """What a bundle of this variant scores; `emb_dist` of a pre-trained one comes from the memory behind its taps."""
    method = find_method(name, variant)
    own = method.variants[variant].outputs
    return method.outputs if own is None else own


def parts_of(name: str, variant: str) -> tuple[str, ...]:
    """Parts of a variant that may be left out, to measure what they are worth."""
    method = find_method(name, variant)
    own = method.variants[variant].ablations
    return method.ablations if own is None else own
