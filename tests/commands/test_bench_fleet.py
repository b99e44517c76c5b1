"""`bench fleet` with few strangers on real servers."""

import json
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the memory is read from /proc")


@pytest.mark.parametrize(("server", "ways"), [("with_pgvector", ["device", "server"]), ("postgres", ["device"])])
def test_a_search_is_measured_each_way_and_nothing_stays(server, ways, request, answered, config_file, tmp_path):
    server = request.getfixturevalue(server)
    address = server.database()
    with config_file.open("a") as file:
        file.write(f"fleet:\n  database: {address}\n")
    words = ("--strangers", "50", "--dimension", "16", "--searches", "2", "--json", tmp_path / "out.json")
    code, _, err = answered("bench", "fleet", *words, "--config", config_file)
    assert (code, err) == (0, "")
    figures = json.loads((tmp_path / "out.json").read_text())
    assert [(one["strangers"], one["compared_by"], one["others"]) for one in figures] == [(50, way, 0) for way in ways]
    name = address.rpartition("/")[2]
    left = "select count(*) from pg_class join pg_namespace n on n.oid = relnamespace where nspname !~ '^(pg_|inf)'"
    assert server.sql(name, left) == [(0,)]

    assert answered("fleet", "init", "--config", config_file)[0] == 0
    code, _, err = answered("bench", "fleet", *words, "--config", config_file)
    assert (code, name in err) == (2, True)
    server.drop(address)
