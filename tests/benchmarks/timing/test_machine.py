"""What a machine tells of itself, read from a file system that a test made."""

from benchmarks.timing.measure.machine import machine_facts, machine_state


def written(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


PC = {
    "proc/cpuinfo": "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu hypervisor avx2\ncpu MHz\t\t: 2450.123\n",
    "proc/meminfo": "MemTotal:       16384000 kB\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
    "sys/devices/system/cpu/intel_pstate/no_turbo": "0\n",
}


def test_processor_governor_and_memory_are_found(tmp_path):
    facts = machine_facts(written(tmp_path, PC))
    assert facts["processor"] == "Some CPU"
    assert facts["memory_mb"] == 16000
    assert facts["virtual"]
    assert facts["power"]["governor"] == "powersave"
    assert facts["power"]["no_turbo"] == "0"
    assert facts["versions"]["numpy"]


def test_what_a_machine_does_not_tell_is_none(tmp_path):
    facts = machine_facts(tmp_path)
    state = machine_state(tmp_path, ask_gpus=list)
    assert set(facts["power"].values()) == {None}
    assert facts["memory_mb"] is None
    assert (state["clocks_mhz"], state["temperatures_c"], state["gpu_clock_mhz"]) == ([], {}, None)


def test_clocks_come_from_the_scaling_driver_where_there_is_one(tmp_path):
    assert machine_state(written(tmp_path, PC), ask_gpus=list)["clocks_mhz"] == [2450]
    written(tmp_path, {"sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "3100000\n"})
    assert machine_state(tmp_path, ask_gpus=list)["clocks_mhz"] == [3100]


def test_temperatures_have_names_and_broken_sensors_are_left_out(tmp_path):
    written(
        tmp_path,
        {
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
            "sys/class/thermal/thermal_zone0/temp": "51500\n",
            "sys/class/thermal/thermal_zone1/type": "off\n",
            "sys/class/thermal/thermal_zone1/temp": "",
            "sys/class/hwmon/hwmon0/name": "k10temp\n",
            "sys/class/hwmon/hwmon0/temp1_label": "Tctl\n",
            "sys/class/hwmon/hwmon0/temp1_input": "47250\n",
        },
    )
    state = machine_state(tmp_path, ask_gpus=list)
    assert state["temperatures_c"] == {"cpu-thermal": 51.5, "k10temp Tctl": 47.25}


def test_a_jetson_tells_its_power_mode_and_gpu_clock(tmp_path):
    written(
        tmp_path, {"var/lib/nvpmodel/status": "pmode:0002\n", "sys/class/devfreq/17000000.gpu/cur_freq": "918000000\n"}
    )
    assert machine_facts(tmp_path)["power"]["jetson_power_mode"] == "pmode:0002"
    assert machine_state(tmp_path, ask_gpus=list)["gpu_clock_mhz"] == 918
