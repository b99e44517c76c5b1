"""Power is read from the kernel's files as NVIDIA's and Intel's drivers lay them out."""

import pytest

from app.tools.machine import PowerMeter, energy_counters, jetson_rails


@pytest.fixture
def write(tmp_path):
    def put(path, text):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n", encoding="ascii")

    return put


class Clock:
    """Moves when the test says so."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def orin(write, rails, amperes):
    folder = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3"
    for channel, (name, milliamperes) in enumerate(zip(rails, amperes), 1):
        write(f"{folder}/in{channel}_label", name)
        write(f"{folder}/in{channel}_input", 5000)
        write(f"{folder}/curr{channel}_input", milliamperes)
    write(f"{folder}/in7_label", "sum of shunt voltages")


def test_machine_without_sensors_tells_nothing(tmp_path):
    meter = PowerMeter(tmp_path)
    meter.start()
    meter.sample()
    assert meter.source == ""
    assert meter.stop() is None


def test_rail_that_feeds_the_board_stands_for_all(tmp_path, write):
    orin(write, ["VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"], [2000, 900, 700])
    clock = Clock()
    meter = PowerMeter(tmp_path, clock)
    meter.start()
    clock.now = 1.0
    meter.sample()
    assert meter.stop() == pytest.approx(10.0)
    assert "VDD_IN" in meter.source and "VDD_SOC" not in meter.source


def test_rails_beside_each_other_are_added(tmp_path, write):
    orin(write, ["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"], [1000, 500, 200])
    clock = Clock()
    meter = PowerMeter(tmp_path, clock)
    meter.start()
    clock.now = 1.0
    meter.sample()
    assert meter.stop() == pytest.approx(5 * 1.7)


def test_mean_of_samples_that_are_a_tenth_of_a_second_apart(tmp_path, write):
    clock = Clock()
    orin(write, ["VDD_IN"], [1000])
    meter = PowerMeter(tmp_path, clock)
    meter.start()
    for now, milliamperes in ((0.05, 9000), (0.2, 1000), (0.25, 9000), (0.4, 3000)):
        write("sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/curr1_input", milliamperes)
        clock.now = now
        meter.sample()
    assert meter.stop() == pytest.approx(10.0)


def test_rails_of_jetpack_4(tmp_path, write):
    folder = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    write(f"{folder}/rail_name_0", "POM_5V_IN")
    write(f"{folder}/in_power0_input", 4200)
    rails = jetson_rails(tmp_path)
    assert rails["POM_5V_IN"]() == pytest.approx(4.2)


def test_processor_that_counts_energy_also_over_the_counters_end(tmp_path, write):
    folder = "sys/class/powercap/intel-rapl:0"
    write(f"{folder}/max_energy_range_uj", 10_000_000)
    write(f"{folder}/energy_uj", 9_000_000)
    write("sys/class/powercap/intel-rapl:0:0/energy_uj", 1)
    assert len(energy_counters(tmp_path)) == 1
    clock = Clock()
    meter = PowerMeter(tmp_path, clock)
    meter.start()
    write(f"{folder}/energy_uj", 5_000_000)
    clock.now = 2.0
    assert meter.stop() == pytest.approx(3.0)
    assert "RAPL" in meter.source
