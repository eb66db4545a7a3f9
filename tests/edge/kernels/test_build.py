"""Compiling the kernels: by nvcc and NVRTC where they are installed, by a stand-in where the bookkeeping matters."""

import re
import sys
from pathlib import Path

import pytest

from edge.core.errors import EngineError, MissingDependency
from edge.kernels.cuda import build, compilers
from edge.kernels.cuda.build import (
    ARCHITECTURES,
    build_image,
    find_images,
    kernel_image,
    local_compiler,
    source_hash,
)
from edge.kernels.cuda.compilers import FLAGS, SOURCES, Nvcc, Nvrtc, find_compilers, find_nvcc
from tests.edge.kernels.emulation import compiled

FEW = Path(__file__).parent / "emulation" / "few_kernels.cu"
needs_nvcc = pytest.mark.skipif(find_nvcc() is None, reason="nvcc is not installed: nothing can be compiled for GPUs")

STAND_IN = """#!{python}
import sys
from pathlib import Path
if sys.argv[1:] == ["--version"]:
    print("Cuda compilation tools, release {version}, V{version}.1")
    sys.exit()
if sys.argv[1:] == ["--list-gpu-arch"]:
    print("\\n".join(f"compute_{{each}}" for each in {known}))
    sys.exit()
if {fails}:
    print("kernels.cu(1): error: no", file=sys.stderr)
    sys.exit(2)
Path(sys.argv[sys.argv.index("-o") + 1]).write_text(" ".join(sys.argv[1:]))
"""
PAST = (75, 80, 86, 87, 90)


@pytest.fixture
def stand_in(tmp_path):
    """An nvcc of the past, which writes its arguments instead of code."""

    def make(fails: bool = False, version: str = "12.6", known: tuple[int, ...] = PAST) -> Nvcc:
        path = tmp_path / f"nvcc-{version}"
        path.write_text(STAND_IN.format(python=sys.executable, fails=fails, version=version, known=known))
        path.chmod(0o755)
        return Nvcc(str(path))

    return make


def accepted(image):
    return None


def image_file(folder, name):
    path = folder / f"kernels-{source_hash()}-{name}.fatbin"
    path.write_bytes(name.encode())
    return path


def found(folder, capability, cuda):
    return [each.path for each in find_images([folder], capability, cuda)]


def test_a_binary_is_compiled_once_for_the_gpu_at_hand_and_then_found(tmp_path, stand_in):
    folders = [tmp_path / "beside", tmp_path / "cache"]
    image = kernel_image("8.7", "12.6", accepted, folders, lambda: [stand_in()])
    assert b"-gencode=arch=compute_87,code=sm_87" in image and image.count(b"-gencode") == 1
    assert all(flag.encode() in image for flag in FLAGS)
    assert kernel_image("8.7", "12.6", accepted, folders, lambda: [stand_in(fails=True)]) == image
    names = [path.name for path in folders[1].glob("*.fatbin")]
    assert names == [f"kernels-{source_hash()}-cuda12.6-87.fatbin"]


def test_an_older_nvcc_leaves_out_the_gpus_it_does_not_know(tmp_path, stand_in):
    path = build_image(tmp_path / "out", stand_in())
    assert path.name == f"kernels-{source_hash()}-cuda12.6-75.80.86.87.90+75.fatbin"
    # PTX of the oldest is for all that come later
    assert "code=compute_75" in path.read_text()


def test_code_runs_on_its_own_generation_and_ptx_on_later_ones(tmp_path):
    only_86 = image_file(tmp_path, "cuda12.6-86")
    assert found(tmp_path, "8.9", "12.6") == found(tmp_path, "8.6", "12.6") == [only_86]
    assert found(tmp_path, "8.0", "12.6") == found(tmp_path, "9.0", "12.6") == []
    only_86.unlink()
    several = image_file(tmp_path, "cuda12.6-75.86+75")
    assert found(tmp_path, "10.3", "12.6") == [several]
    assert found(tmp_path, "7.0", "12.6") == []


def test_a_board_runs_code_made_for_it_and_for_no_other(tmp_path):
    image_file(tmp_path, "cuda12.6-86")
    assert found(tmp_path, "8.7", "12.6") == []
    orin = image_file(tmp_path, "cuda12.6-87")
    assert found(tmp_path, "8.7", "12.6") == [orin]
    assert orin not in found(tmp_path, "8.9", "12.6")


def test_a_driver_runs_code_of_its_major_version_and_ptx_that_is_no_newer(tmp_path):
    newer, fits = image_file(tmp_path, "cuda13.0-86+75"), image_file(tmp_path, "cuda12.8-86+75")
    assert found(tmp_path, "8.6", "12.6") == [fits]
    assert found(tmp_path, "8.6", "13.1") == [newer, fits]
    # of code for another generation nothing but the PTX is left, and that is newer than the driver
    assert found(tmp_path, "9.0", "12.6") == []


def test_what_the_driver_refuses_is_compiled_by_what_is_here_and_said(tmp_path, stand_in, caplog):
    shipped = image_file(tmp_path, "cuda12.8-86+75")

    def refusal(image):
        return "CUDA_ERROR_NO_BINARY_FOR_GPU (209)" if image == shipped.read_bytes() else None

    image = kernel_image("8.6", "12.6", refusal, [tmp_path], lambda: [stand_in()])
    assert b"code=sm_86" in image
    assert "cuda12.8-86+75.fatbin: the driver (CUDA 12.6) refuses it, CUDA_ERROR_NO_BINARY_FOR_GPU (209)" in caplog.text
    assert "nvcc-12.6 (CUDA 12.6)" in caplog.text


def test_a_file_that_is_refused_is_made_anew_and_one_that_is_refused_again_is_an_error(tmp_path, stand_in):
    damaged = image_file(tmp_path, "cuda12.6-86")
    broken = damaged.read_bytes()
    image = kernel_image(
        "8.6", "12.6", lambda image: "bad" if image == broken else None, [tmp_path], lambda: [stand_in()]
    )
    assert damaged.read_bytes() == image != broken
    with pytest.raises(EngineError, match=r"the driver \(CUDA 12\.6\) refuses what .*nvcc-12\.6 compiled for it: bad"):
        kernel_image("8.6", "12.6", lambda image: "bad", [tmp_path], lambda: [stand_in()])


def test_a_compiler_newer_than_the_driver_is_passed_over(stand_in):
    newer, fits = stand_in(version="13.0"), stand_in(version="12.2")
    assert local_compiler("8.6", "12.6", lambda: [newer, fits]) is fits
    assert local_compiler("8.6", "13.0", lambda: [newer, fits]) is newer
    assert local_compiler("8.6", "11.8", lambda: [newer, fits]) is None


def test_a_gpu_newer_than_the_compiler_gets_code_of_its_generation_or_else_ptx(tmp_path, stand_in):
    nvcc = stand_in(version="12.8", known=(75, 80, 86, 87, 90, 100, 120))
    assert b"code=sm_120" in kernel_image("12.1", "12.9", accepted, [tmp_path / "spark"], lambda: [nvcc])
    image = kernel_image("11.0", "13.0", accepted, [tmp_path / "thor"], lambda: [nvcc])
    assert b"code=compute_100" in image and image.count(b"-gencode") == 1
    assert kernel_image("11.0", "13.0", accepted, [tmp_path / "thor"], list) == image


def test_changed_sources_are_not_run_from_an_old_binary(tmp_path, monkeypatch):
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "kernels.cu").write_text("one")
    monkeypatch.setattr(build, "SOURCES", sources)
    image_file(tmp_path, "cuda12.6-87")
    assert found(tmp_path, "8.7", "12.6")
    (sources / "kernels.cu").write_text("two")
    assert not found(tmp_path, "8.7", "12.6")


def test_without_a_compiler_the_error_says_what_to_run(tmp_path):
    with pytest.raises(MissingDependency, match=r"run on compute capability 8\.7 under CUDA 12\.6") as caught:
        kernel_image("8.7", "12.6", accepted, [tmp_path], list)
    assert "pip install 'nvidia-cuda-nvrtc-cu12==12.6.*'" in caught.value.fix
    assert "make kernels" in caught.value.fix and str(tmp_path) in caught.value.fix


def test_what_nvcc_says_is_told(tmp_path, stand_in):
    with pytest.raises(EngineError, match="error: no"):
        build_image(tmp_path / "out", stand_in(fails=True))
    with pytest.raises(EngineError, match=r"knows none of the GPUs 7\.5.*12\.0, only 3\.5"):
        build_image(tmp_path / "out", stand_in(known=(35,)))


@pytest.fixture
def nvrtc():
    found = next((each for each in find_compilers() if isinstance(each, Nvrtc) and each.version == (12, 6)), None)
    if found is None:
        pytest.skip("NVRTC 12.6 is not installed (pip install 'nvidia-cuda-nvrtc-cu12==12.6.*')")
    return found


def test_nvrtc_of_cuda_12_compiles_the_kernels_for_a_board_of_jetpack_6(nvrtc, monkeypatch):
    monkeypatch.setattr(compilers, "UNIT", FEW)
    assert 87 in nvrtc.architectures
    image = nvrtc.compile((87,), ())
    # the ELF that drivers of CUDA 12 load; of nvcc 13 it is 0x41
    assert image[:4] == b"\x7fELF" and image[7] == 0x33
    assert b"residual_f16_all_1" in image


def test_nvrtc_makes_ptx_for_a_gpu_that_it_does_not_know_and_tells_what_it_refuses(nvrtc, monkeypatch, tmp_path):
    unit = tmp_path / "unit.cu"
    monkeypatch.setattr(compilers, "UNIT", unit)
    unit.write_text('extern "C" __global__ void nothing() {}')
    assert b".target sm_75" in nvrtc.compile((), (75,))
    unit.write_text("__device__ int f() { return nothing; }")
    with pytest.raises(EngineError, match=r"refuses the kernels: unit\.cu\(1\): error: identifier"):
        nvrtc.compile((), (75,))


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
