"""Channels that are stopped and started over HTTP, in a real run of two recordings."""

import json

from waiting import until


def states(client):
    return {channel["name"]: channel["state"] for channel in client.get("/api/v1/channels").json["channels"]}


def test_a_stopped_channel_waits_for_its_start_while_the_run_goes_on(two, tmp_path):
    admin, reader, gate, report, _ = two
    assert reader.post("/api/v1/channels/door/stop", {}).status == 403
    assert admin.post("/api/v1/channels/nowhere/stop", {}).status == 404
    for name in ("hall", "door", "door"):
        reply = admin.post(f"/api/v1/channels/{name}/stop", {})
        assert (reply.status, reply.json["state"]) == (200, "stopped")
    gate.opened.set()

    turns, frames = gate.turns, gate.frames
    until(lambda: gate.turns > turns + 20)
    assert not report.done()
    assert gate.frames <= frames + 1, "one may have been taken before"

    read = admin.get("/api/v1/channels").json["channels"][0]["counters"]["read"]
    assert admin.post("/api/v1/channels/hall/start", {}).json["state"] == "opening"
    until(lambda: states(reader)["hall"] == "ended")
    assert states(reader)["door"] == "stopped"
    assert admin.get("/api/v1/channels").json["channels"][0]["counters"]["read"] > read, "the counters go on"
    assert admin.post("/api/v1/channels/hall/start", {}).status == 409
    assert not report.done()

    noted = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [(one["client"], one["action"], one["channel"]) for one in noted] == [
        ("owner", "stop channel", "hall"),
        ("owner", "stop channel", "door"),
        ("owner", "start channel", "hall"),
    ]
    until(lambda: "source_back" in (tmp_path / "visits.jsonl").read_text())
    written = (tmp_path / "visits.jsonl").read_text().rpartition("\n")[0]
    events = [json.loads(line) for line in written.splitlines()]
    lost = [(one["channel"], one["error"]) for one in events if one["event"] == "source_lost"]
    assert sorted(lost) == [("door", "stopped by a person"), ("hall", "stopped by a person")]
    assert [one["channel"] for one in events if one["event"] == "source_back"] == ["hall"]
