import pytest

from tests.edge.plant.plc.triggered_line import LineOfTriggers


@pytest.fixture
def line():
    lines = []

    def make(*arguments, **options):
        lines.append(LineOfTriggers(*arguments, **options))
        return lines[-1]

    yield make
    for each in lines:
        each.close()


@pytest.fixture
def plc():
    # after the tests' own question whether it is installed
    from tests.edge.plant.plc.modbus_plc import Plc

    plcs = []

    def make(line):
        plcs.append(Plc(line.link.port))
        return plcs[-1]

    yield make
    for each in plcs:
        each.close()
