"""`bench serve` measures a real server with real clients in another process."""

import json
import re

import pytest

pytest.importorskip("starlette")

from app.cli import main


def measured(tmp_path, *words):
    file = tmp_path / "speed.json"
    code = main(["bench", "serve", "--seconds", "30", "--json", str(file), *words])
    return code, json.loads(file.read_text(encoding="utf-8"))


@pytest.mark.parametrize("encoding", ["json", "msgpack", "multipart"])
def test_every_request_is_answered_and_counted(tmp_path, capsys, encoding):
    code, (speed,) = measured(tmp_path, "--clients", "2", "--requests", "6", "--format", encoding, "--size", "320x240")
    assert code == 0
    assert speed["statuses"] == {"200": 6} and speed["latency"]["runs"] == 6
    assert speed["pictures_per_s"] > 0 and speed["cpu_ms"] > 0
    assert "320x240" in capsys.readouterr().out


def test_what_is_not_answered_is_told(tmp_path):
    code, (speed,) = measured(
        tmp_path, "--url", "http://127.0.0.1:9", "--clients", "1", "--requests", "2", "--size", "64x64"
    )
    assert code == 1
    assert speed["statuses"] == {"0": 2} and speed["cpu_ms"] is None


def test_the_first_answer_is_that_of_a_server_with_the_same_settings(tmp_path, capsys, config_file):
    file = tmp_path / "start.json"
    (tmp_path / "gallery").mkdir()
    assert main(["bench", "serve", "--starts", "1", "--json", str(file), "--config", str(config_file)]) == 0
    (first,) = json.loads(file.read_text(encoding="utf-8"))["first_answer_s"]
    shown = re.search(r"first answer after ([\d.]+) s", capsys.readouterr().out)
    assert first > 0 and shown and float(shown[1]) == pytest.approx(first, abs=0.011)


def test_a_server_that_cannot_be_started_is_told_with_its_reason(tmp_path, capsys, config_file):
    (tmp_path / "gallery").mkdir()
    words = ["bench", "serve", "--starts", "1", "--config", str(config_file), "--detector", "no_such_model"]
    assert main(words) == 2
    err = capsys.readouterr().err
    assert "exit code 2" in err and "no_such_model" in err
