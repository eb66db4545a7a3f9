"""What the NVIDIA driver says of the GPU; the driver is a library built here, which answers as the real one does."""

import shutil
import subprocess

import pytest

from edge.backends.gpu.cuda_device import CudaDevice, read_cuda_device
from edge.core.errors import MissingDependency

DRIVER = r"""
#include <string.h>
int cuInit(unsigned flags) { return INIT; }
int cuDriverGetVersion(int *version) { *version = 12060; return 0; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
int cuDeviceGetName(char *name, int length, int device) { strncpy(name, "Orin (nvgpu)", length); return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? 8 : attribute == 76 ? 7 : attribute == 18 ? 1 : attribute == 16 ? 8 : -1;
    return 0;
}
"""

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed: no driver can be built")


def driver(folder, init=0):
    (folder / "cuda.c").write_text(DRIVER)
    library = folder / "libcuda.so"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", f"-DINIT={init}", "-o", library, folder / "cuda.c"], check=True, timeout=60
    )
    return str(library)


def test_name_capability_and_versions_are_read(tmp_path):
    version = tmp_path / "proc/driver/nvidia/version"
    version.parent.mkdir(parents=True)
    version.write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  560.35.03  Fri Aug 16\nGCC version: gcc 12.2.0\n"
    )
    found = read_cuda_device(library=driver(tmp_path), root=tmp_path)
    assert found == CudaDevice(
        "Orin (nvgpu)", "8.7", driver="560.35.03", cuda="12.6", integrated=True, multiprocessors=8
    )


def test_a_jetson_tells_its_release_instead_of_a_driver(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nv_tegra_release").write_text("# R36 (release), REVISION: 4.3, GCID: 1\n")
    assert read_cuda_device(library=driver(tmp_path), root=tmp_path).driver == "R36 (release), REVISION: 4.3"


def test_no_driver_a_failing_driver_and_no_such_gpu_are_told(tmp_path):
    with pytest.raises(MissingDependency, match="no NVIDIA driver"):
        read_cuda_device(library=str(tmp_path / "nowhere.so"))
    with pytest.raises(MissingDependency, match="cuInit with error 100"):
        read_cuda_device(library=driver(tmp_path, init=100))
    (tmp_path / "second").mkdir()
    with pytest.raises(MissingDependency, match="no GPU 1: the driver shows 1"):
        read_cuda_device(ordinal=1, library=driver(tmp_path / "second"))
