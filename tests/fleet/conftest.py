import pytest
from shared_devices import device as device
from shared_devices import fleet as fleet
from shared_devices import photo as photo
from shared_doors import doors as doors
from shared_doors import seen as seen


@pytest.fixture
def rows(postgres, database):
    def query(*statements):
        return postgres.sql(database.rpartition("/")[2], *statements)

    return query


@pytest.fixture
def two(device):
    return device("a"), device("b")
