"""`doctor` reports what is installed and what is missing; its exit code, whether the program can run."""

import json


def test_healthy_machine(completed):
    code, out, err = completed("doctor")
    assert code == 0, err
    assert "mobilefacenet runs on" in out


def test_wrong_settings_are_a_finding(completed, tmp_path):
    (tmp_path / "test.yaml").write_text("models:\n  detectr: x\n", encoding="utf-8")
    code, out, _ = completed("doctor", "--json")
    assert code == 1
    found = json.loads(out)
    assert not found["can_run"]
    assert "detectr" in found["sections"][0]["findings"][0]["text"]
    assert found["sections"][-1]["title"] == "Cameras"
