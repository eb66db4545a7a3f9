from pathlib import Path

import pytest

from edge.core.hardware import board_name, find_cameras, find_gpus, jetson_release, read_processor


def _write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_a_pc_processor_has_name_cores_and_the_features_that_matter(tmp_path):
    core = "processor\t: {}\nmodel name\t: Fast CPU @ 3 GHz\nflags\t\t: fpu avx2 avx512f avx512_vnni\n\n"
    _write(tmp_path, {"proc/cpuinfo": core.format(0) + core.format(1)})
    processor = read_processor(tmp_path)
    assert processor.name == "Fast CPU @ 3 GHz"
    assert processor.cores == 2
    assert processor.features == ("avx2", "avx512f", "avx512_vnni")


def test_an_arm_processor_is_named_after_its_board(tmp_path):
    cpuinfo = "processor\t: 0\nFeatures\t: fp asimd asimddp\nCPU implementer\t: 0x41\n"
    _write(tmp_path, {"proc/cpuinfo": cpuinfo, "proc/device-tree/model": "NVIDIA Jetson Orin Nano\0"})
    processor = read_processor(tmp_path)
    assert processor.name == "NVIDIA Jetson Orin Nano"
    assert processor.features == ("asimd", "asimddp")


def test_a_system_without_these_files_is_unknown_not_an_error(tmp_path):
    processor = read_processor(tmp_path)
    assert processor.name == "unknown"
    assert processor.cores >= 1
    assert board_name(tmp_path) is jetson_release(tmp_path) is None
    assert find_cameras(tmp_path) == []
    assert find_gpus(tmp_path).names == ()


def test_a_jetson_is_a_gpu_that_needs_no_nvidia_smi(tmp_path):
    release = "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n"
    _write(tmp_path, {"etc/nv_tegra_release": release, "proc/device-tree/model": "NVIDIA Jetson Orin Nano\0"})
    assert jetson_release(tmp_path) == "R36 (release), REVISION: 4.3"
    assert find_gpus(tmp_path).names == ("NVIDIA Jetson Orin Nano, Jetson Linux R36 (release), REVISION: 4.3",)


def test_desktop_gpus_are_named_by_nvidia_smi(tmp_path):
    _write(tmp_path, {"dev/nvidia0": "", "dev/nvidia1": "", "dev/nvidiactl": ""})
    gpus = find_gpus(tmp_path, lambda: "Card A, 570.1, 8192 MiB\nCard B, 570.1, 8192 MiB\n")
    assert gpus.names == ("Card A, 570.1, 8192 MiB", "Card B, 570.1, 8192 MiB")
    assert gpus.problem is None


def test_a_gpu_whose_driver_fails_is_a_problem(tmp_path):
    def ask() -> str:
        raise OSError("Driver/library version mismatch")

    _write(tmp_path, {"dev/nvidia0": ""})
    assert find_gpus(tmp_path, ask).problem == "Driver/library version mismatch"


def test_no_gpu_is_asked_for_where_there_is_no_device(tmp_path):
    def ask() -> str:
        raise AssertionError("asked")

    _write(tmp_path, {"dev/nvidiactl": ""})
    assert find_gpus(tmp_path, ask).problem is None


def _cameras(root: Path) -> Path:
    _write(
        root,
        {
            "dev/video10": "",
            "dev/video2": "",
            "dev/video3": "",
            "dev/videofoo": "",
            "sys/class/video4linux/video2/name": "HD Webcam\n",
            "sys/class/video4linux/video2/index": "0\n",
            "sys/class/video4linux/video3/name": "HD Webcam\n",
            "sys/class/video4linux/video3/index": "1\n",
            "proc/77/comm": "browser\n",
        },
    )
    (root / "proc/77/fd").mkdir()
    (root / "proc/77/fd/5").symlink_to("/dev/video2")
    (root / "proc/77/fd/6").symlink_to("/dev/null")
    return root


def test_cameras_are_listed_by_number_without_metadata_nodes(tmp_path):
    cameras = find_cameras(_cameras(tmp_path))
    assert [(camera.number, camera.name) for camera in cameras] == [(2, "HD Webcam"), (10, "unnamed")]


def test_a_camera_in_use_names_the_program(tmp_path):
    first, second = find_cameras(_cameras(tmp_path))
    assert first.used_by == ("browser (77)",)
    assert second.used_by == ()


@pytest.mark.parametrize("allowed", [True, False])
def test_a_camera_tells_whether_this_user_may_open_it(tmp_path, allowed):
    assert all(camera.may_open == allowed for camera in find_cameras(_cameras(tmp_path), lambda path: allowed))
