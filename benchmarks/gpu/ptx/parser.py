"""PTX text → kernels as basic blocks of instructions; nothing is looked up or executed here.

What nvcc writes for a kernel with one argument: registers, demoted shared variables, labels, guarded instructions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_ENTRY = re.compile(r"\.entry\s+(\w+)\s*\(([^)]*)\)[^{]*\{(.*?)\n\}", re.DOTALL)
_PARAMETER = re.compile(r"\.param\s+\.align\s+\d+\s+\.b8\s+(\w+)\[(\d+)\]")
_SHARED = re.compile(r"\.shared\s+\.align\s+(\d+)\s+\.b8\s+(\S+)\[(\d+)\]")
_REGISTERS = re.compile(r"\.reg\s+\.(\w+)\s+(%\w+)<(\d+)>")
_LABEL = re.compile(r"(\$?\w+):$")
_INSTRUCTION = re.compile(r"(?:@(!?)(%\w+)\s+)?([\w.:]+)\s*(.*)$")
_OPERAND = re.compile(r"\{[^}]*\}|\[[^\]]*\]|[^,\s]+")
# after these the threads of a block may go different ways, or wait
_ENDS_BLOCK = ("bra", "ret", "exit", "bar", "barrier")


class PtxFault(Exception):
    """What a GPU would answer with an error, or with nonsense; and what this interpreter does not know."""


@dataclass(frozen=True)
class Instruction:
    """opcode: complete, such as "add.rn.f32". guard: a predicate, and whether it is negated. line: of the text."""

    opcode: str
    operands: tuple[str, ...]
    guard: tuple[str, bool] | None
    line: int

    @property
    def name(self) -> str:
        return self.opcode.split(".")[0]

    def __str__(self) -> str:
        return f"line {self.line}: {self.opcode} {', '.join(self.operands)}"


@dataclass
class Kernel:
    """One entry. blocks: of instructions, in the order of the text; labels: the block that each begins.

    parameter: name and size in bytes of its one argument. shared: where each shared variable begins. registers: type
    and number by prefix, such as "%rd".
    """

    name: str
    parameter: tuple[str, int]
    shared: dict[str, int] = field(default_factory=dict)
    shared_bytes: int = 0
    registers: dict[str, tuple[str, int]] = field(default_factory=dict)
    blocks: list[list[Instruction]] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)


def kernels_of(text: str) -> dict[str, tuple[str, str, int]]:
    """Parameters, body and first line of every entry, by name; `kernel_of` reads one."""
    found = {}
    for entry in _ENTRY.finditer(text):
        found[entry[1]] = (entry[2], entry[3], text.count("\n", 0, entry.start(3)) + 1)
    return found


def kernel_of(name: str, parameters: str, body: str, first_line: int) -> Kernel:
    """Read one entry; raises PtxFault for what is not understood."""
    parameter = _PARAMETER.search(parameters)
    if parameter is None:
        raise PtxFault(f"{name}: its argument is no structure: {parameters.strip()}")
    kernel = Kernel(name, (parameter[1], int(parameter[2])))
    block: list[Instruction] = []

    def close() -> None:
        nonlocal block
        if block:
            kernel.blocks.append(block)
            block = []

    for number, raw in enumerate(body.split("\n"), first_line):
        line = raw.split("//")[0].strip()
        label = _LABEL.match(line)
        if label is not None:
            close()
            kernel.labels[label[1]] = len(kernel.blocks)
        elif line.startswith("."):
            _declare(kernel, line)
        elif line:
            # one statement a line, whatever comes before its semicolon
            block.append(_instruction(line.rstrip(";").strip(), number))
            if block[-1].name in _ENDS_BLOCK:
                close()
    close()
    return kernel


def _declare(kernel: Kernel, line: str) -> None:
    shared = _SHARED.match(line)
    registers = _REGISTERS.match(line)
    if shared is not None:
        aligned, size = int(shared[1]), int(shared[3])
        begin = -(-kernel.shared_bytes // aligned) * aligned
        kernel.shared[shared[2]], kernel.shared_bytes = begin, begin + size
    elif registers is not None:
        kernel.registers[registers[2]] = (registers[1], int(registers[3]))
    elif not line.startswith(".pragma"):
        raise PtxFault(f"{kernel.name}: this declaration is not understood: {line}")


def _instruction(statement: str, line: int) -> Instruction:
    found = _INSTRUCTION.match(statement)
    if found is None:
        raise PtxFault(f"line {line} is not understood: {statement}")
    guard = (found[2], found[1] == "!") if found[2] else None
    return Instruction(found[3], tuple(_OPERAND.findall(found[4])), guard, line)
