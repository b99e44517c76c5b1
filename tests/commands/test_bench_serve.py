"""`bench serve` measures a real server with real clients in another process."""

import asyncio
import json
import re

import pytest

pytest.importorskip("starlette")

from app.cli import main
from app.tools.benchmark.service import OneByOne, growth


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


def test_one_by_one_is_measured_in_turns_with_what_the_server_does_otherwise(tmp_path, capsys):
    words = ["--clients", "3", "--requests", "6", "--size", "320x240", "--one-by-one", "--turns", "2"]
    code, speeds = measured(tmp_path, *words)
    assert code == 0
    assert [speed["load"]["one_by_one"] for speed in speeds] == [False, True, False, True]
    assert {json.dumps(speed["statuses"]) for speed in speeds} == {'{"200": 6}'}
    first, second = (speeds[at]["pictures_per_s"] / speeds[at + 1]["pictures_per_s"] for at in (0, 2))
    assert f"{(first + second) / 2:.2f} times as many pictures" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--one-by-one", "--live"])
def test_a_server_that_runs_already_cannot_be_told_to_work_otherwise(capsys, option):
    assert main(["bench", "serve", "--url", "http://127.0.0.1:9", option]) == 2
    assert "--url" in capsys.readouterr().err


@pytest.mark.slow
def test_live_video_is_measured_without_and_with_requests(tmp_path, capsys):
    pytest.importorskip("av")
    code, ((turn,),) = measured(tmp_path, "--live", "--clients", "2", "--seconds", "2", "--turns", "1")
    assert code == 0
    assert turn["fps_alone"] > 0 and turn["fps_busy"] > 0 and turn["p95_alone_ms"] >= turn["p50_alone_ms"] > 0
    assert turn["ratio"] == turn["p95_busy_ms"] / turn["p95_alone_ms"]
    assert set(turn["requests"]["statuses"]) == {"200"} and turn["requests"]["statuses"]["200"] > 0
    assert f"{turn['ratio']:.2f} times" in capsys.readouterr().out


@pytest.mark.parametrize(("per_sample", "expected"), [(0.0, 0.0), (0.5, 100.0)])
def test_growth_is_for_each_1000_requests_and_without_the_beginning(per_sample, expected):
    begin, then = [5.0 * at for at in range(50)], [250 + per_sample * at for at in range(150)]
    assert growth(begin + then, 1000) == pytest.approx(expected)
    assert growth(begin, 1000) is None, "too short to tell"


def test_only_one_request_is_let_in_at_a_time_while_it_is_on():
    layer, inside, most = OneByOne(), [], []

    async def app(scope, receive, send):
        inside.append(1)
        most.append(len(inside))
        await asyncio.sleep(0)
        inside.pop()

    async def four():
        await asyncio.gather(*(layer.around(app)({}, None, None) for _ in range(4)))

    async def scenario():
        await four()
        layer.on = True
        await four()

    asyncio.run(scenario())
    assert most == [1, 2, 3, 4, 1, 1, 1, 1]


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
