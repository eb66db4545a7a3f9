"""Compiling the kernels: by the real nvcc where there is one, and by a stand-in where only the bookkeeping matters."""

import re
import sys
from pathlib import Path

import pytest

from edge.core.errors import EngineError, MissingDependency
from edge.kernels.cuda import build
from edge.kernels.cuda.build import (
    ARCHITECTURES,
    FLAGS,
    SOURCES,
    build_image,
    find_image,
    find_nvcc,
    kernel_image,
    source_hash,
)
from tests.edge.kernels.emulation import compiled

FEW = Path(__file__).parent / "emulation" / "few_kernels.cu"
needs_nvcc = pytest.mark.skipif(find_nvcc() is None, reason="nvcc is not installed: nothing can be compiled for GPUs")

STAND_IN = """#!{python}
import sys
from pathlib import Path
if sys.argv[1:] == ["--list-gpu-arch"]:
    print("compute_75\\ncompute_80\\ncompute_86\\ncompute_87\\ncompute_90")
    sys.exit()
if {fails}:
    print("kernels.cu(1): error: no", file=sys.stderr)
    sys.exit(2)
Path(sys.argv[sys.argv.index("-o") + 1]).write_text(" ".join(sys.argv[1:]))
"""


@pytest.fixture
def stand_in(tmp_path):
    """An nvcc of the past, which writes its arguments instead of code."""

    def make(fails: bool = False) -> str:
        path = tmp_path / "nvcc"
        path.write_text(STAND_IN.format(python=sys.executable, fails=fails))
        path.chmod(0o755)
        return str(path)

    return make


def test_a_binary_is_compiled_once_for_the_gpu_at_hand_and_then_found(tmp_path, stand_in):
    folders = [tmp_path / "beside", tmp_path / "cache"]
    image = kernel_image("8.7", folders, stand_in())
    assert b"-gencode=arch=compute_87,code=sm_87" in image and image.count(b"-gencode") == 1
    assert all(flag.encode() in image for flag in FLAGS)
    stand_in(fails=True)
    assert kernel_image("8.7", folders, str(tmp_path / "nvcc")) == image
    assert [path.name for path in folders[1].glob("*.fatbin")] == [f"kernels-{source_hash()}-87.fatbin"]


def test_an_older_nvcc_leaves_out_the_gpus_it_does_not_know(tmp_path, stand_in):
    path = build_image(tmp_path / "out", stand_in())
    assert path.name == f"kernels-{source_hash()}-75.80.86.87.90.fatbin"
    # PTX of the oldest is for all that come later
    assert "code=compute_75" in path.read_text()


def test_code_runs_on_its_own_generation_and_ptx_on_later_ones(tmp_path):
    def file(architectures):
        path = tmp_path / f"kernels-{source_hash()}-{architectures}.fatbin"
        path.touch()
        return path

    only_86 = file("86")
    assert find_image([tmp_path], 89) == find_image([tmp_path], 86) == only_86
    assert find_image([tmp_path], 80) is find_image([tmp_path], 90) is None
    only_86.unlink()
    several = file("75.86")
    assert find_image([tmp_path], 103) == several
    assert find_image([tmp_path], 70) is None


def test_changed_sources_are_not_run_from_an_old_binary(tmp_path, monkeypatch):
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "kernels.cu").write_text("one")
    monkeypatch.setattr(build, "SOURCES", sources)
    (tmp_path / f"kernels-{source_hash()}-87.fatbin").touch()
    assert find_image([tmp_path], 87)
    (sources / "kernels.cu").write_text("two")
    assert find_image([tmp_path], 87) is None


def test_without_nvcc_the_error_says_what_to_run(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "find_nvcc", lambda: None)
    with pytest.raises(MissingDependency, match=r"no compiled kernels for compute capability 8\.7") as caught:
        kernel_image("8.7", [tmp_path])
    assert "make kernels" in caught.value.fix and str(tmp_path) in caught.value.fix


def test_what_nvcc_says_is_told(tmp_path, stand_in):
    with pytest.raises(EngineError, match="error: no"):
        build_image(tmp_path / "out", stand_in(fails=True))
    with pytest.raises(EngineError, match=r"knows none of the GPUs 12\.0, only 7\.5"):
        build_image(tmp_path / "out", stand_in(), (120,))


@needs_nvcc
def test_every_source_compiles_for_every_gpu():
    targets = [f"-gencode=arch=compute_{each},code=sm_{each}" for each in ARCHITECTURES]
    # the last step unoptimised, which is most of the time and accepts the same
    image = compiled_few([*targets, "--fatbin", "--threads", "2", "-Xptxas", "-O0"], FLAGS, ".fatbin")
    assert image.stat().st_size > 0


@needs_nvcc
def test_nothing_is_contracted_or_approximated():
    text = compiled_few(["-arch=compute_75", "--ptx"], FLAGS, ".ptx").read_text()
    instructions = re.findall(r"^\s+([a-z0-9_]+(?:\.[a-z0-9_]+)*)\s", text, re.MULTILINE)
    floats = {each for each in instructions if each.endswith((".f32", ".f64"))}
    # without `.rn` the driver's compiler might still contract a product and a sum
    assert {"add.rn.f32", "mul.rn.f32", "div.rn.f32", "sqrt.rn.f32"} <= floats
    assert not floats & {"add.f32", "sub.f32", "mul.f32", "add.f64", "sub.f64", "mul.f64"}
    assert not [each for each in floats if each.startswith(("fma", "mad")) or ".approx" in each or ".ftz" in each]


@needs_nvcc
def test_with_contraction_the_inspection_above_would_find_it():
    contracting = [flag for flag in FLAGS if flag != "-fmad=false"]
    assert "fma.rn.f32" in compiled_few(["-arch=compute_75", "--ptx"], contracting, ".ptx").read_text()


def compiled_few(arguments, flags, suffix):
    return compiled([find_nvcc(), *flags, *arguments, f"-I{SOURCES}", str(FEW)], suffix)
