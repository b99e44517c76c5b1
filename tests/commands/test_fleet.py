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


def test_the_owner_sets_for_how_long_events_are_kept(answered, config):
    assert answered("fleet", "retention", "--config", config)[0] == 2
    answered("fleet", "init", "--config", config)
    for words, answer in (
        ((), "for ever"),
        (("90",), "90 days"),
        ((), "90 days"),
        (("7",), "7 days"),
        (("off",), "ever"),
    ):
        code, out, _ = answered("fleet", "retention", *words, "--config", config)
        assert code == 0 and answer in out
    assert answered("fleet", "retention", "0", "--config", config)[0] == 2


def test_without_a_database_the_setting_is_named(answered, config_file):
    code, _, err = answered("fleet", "status", "--config", config_file)
    assert code == 2
    assert "fleet.database" in err
