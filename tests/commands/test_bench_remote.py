"""`bench remote` measures a real server."""

import json

import pytest
from ports import free_port
from serve_process import ServeProcess

pytest.importorskip("starlette")


@pytest.mark.slow
def test_bytes_times_and_devices_are_measured(completed, config_file, tmp_path):
    server = ServeProcess(tmp_path)
    with config_file.open("a", encoding="utf-8") as config:
        config.write(f"remote:\n  url: {server.url}\n")
    words = ("bench", "remote", "--devices", "1,2", "--seconds", "0.2", "--json", tmp_path / "figures.json")
    try:
        server.start()
        code, out, err = completed(*words)
    finally:
        server.kill()
    assert code == 0, err
    assert "added p50 ms" in out and server.url in out
    figures = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert [one["faces"] for one in figures["requests"]] == [1, 4, 15]
    for one in figures["requests"]:
        assert one["faces"] * 37632 < one["sent_bytes"] < one["faces"] * 37632 * 1.1 + 1000
    assert [one["devices"] for one in figures["rates"]] == [1, 2]
    assert all(one["faces_per_s"] > 0 and one["failed"] == 0 for one in figures["rates"])


def test_without_a_server_it_says_what_to_set_or_why_it_does_not_answer(answered, config_file):
    code, _, err = answered("bench", "remote", "--config", config_file)
    assert code == 2 and "remote.url" in err
    with config_file.open("a", encoding="utf-8") as config:
        config.write(f"remote:\n  url: http://127.0.0.1:{free_port()}\n")
    code, _, err = answered("bench", "remote", "--config", config_file)
    assert code == 2 and "refused" in err
