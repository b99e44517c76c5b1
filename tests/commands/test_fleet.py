"""`python -m app fleet` with a real server."""

import pytest


@pytest.fixture
def config(config_file, database):
    with config_file.open("a") as file:
        file.write(f"fleet:\n  database: {database}\n")
    (config_file.parent / "gallery").mkdir(exist_ok=True)
    return config_file


def test_a_database_is_prepared_once(answered, config):
    assert answered("fleet", "status", "--config", config)[0] == 1
    assert answered("fleet", "migrate", "--config", config)[0] == 2
    assert answered("fleet", "init", "--config", config)[0] == 0
    assert answered("fleet", "init", "--config", config)[0] == 2
    assert answered("fleet", "migrate", "--config", config)[0] == 0
    code, out, _ = answered("fleet", "status", "--config", config)
    assert code == 0
    assert "PostgreSQL" in out


def test_without_a_database_the_setting_is_named(answered, config_file):
    code, _, err = answered("fleet", "status", "--config", config_file)
    assert code == 2
    assert "fleet.database" in err
