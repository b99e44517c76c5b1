"""`python -m app scan --url` with a real server."""

import pytest
from http_client import free_port


def address(client):
    return f"http://127.0.0.1:{client.port}"


@pytest.mark.parametrize("below", ["", "/core"])
def test_through_a_server(answered, scenes, config_file, served, below):
    words = ("--expect", scenes / "noses.csv", "--url", address(served) + below, "--config", config_file)
    code, out, err = answered("scan", scenes, *words)
    assert code == 0, err
    assert "undetected faces: 0 of 2, false face detections: 0 of 2" in out


def test_the_minimum_score_is_sent_to_the_server(answered, scenes, config_file, served):
    words = ("--min-score", 1, "--url", address(served), "--config", config_file)
    code, out, err = answered("scan", scenes / "pair.png", *words)
    assert code == 0, err
    assert "0 faces in 1 picture" in out


def test_a_server_that_speaks_otherwise_is_named(answered, scenes, config_file, served):
    code, _, err = answered("scan", scenes, "--url", f"{address(served)}/nowhere", "--config", config_file)
    assert code == 2 and "/nowhere/scan_faces" in err and "404" in err


def test_a_server_that_does_not_answer_is_named(answered, scenes, config_file):
    port = free_port()
    code, _, err = answered("scan", scenes, "--url", f"http://127.0.0.1:{port}", "--config", config_file)
    assert code == 2 and f"127.0.0.1:{port}/scan_faces" in err
