"""Whatever is killed, and whenever: the next run goes on, and the result is that of an undisturbed run."""

import os
import signal
from pathlib import Path

import pytest
from held_pictures import alive
from waiting import until

from app.archive.job import Job, Shard, networks_of
from app.archive.shard import attempts_of, make_part
from app.errors import ExitCode

pytestmark = pytest.mark.slow


def parts(out):
    return sorted(path.name for path in out.glob("part-*.parquet"))


def children(process):
    text = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(word) for word in text.split()]


def test_kills_of_the_program_and_of_a_worker_leave_no_trace(program, completed, held, tmp_path):
    words = ("batch", held.path.parent, "--shard-size", 2, "--workers", 2)
    undisturbed, out = tmp_path / "undisturbed", tmp_path / "out"
    held.give()
    code, text, err = completed(*words, "--out", undisturbed)
    assert code == ExitCode.INCOMPLETE and not err, "progress is for terminals"
    assert "14 faces in 10 pictures" in text

    run = program(*words, "--out", out)
    until(lambda: len(parts(out)) == 4)  # all but the one with the held picture
    workers = children(run.pid)
    run.kill()
    run.wait()
    until(lambda: not any(map(alive, workers)))
    assert not (out / "manifest.json").exists()

    run = program("batch", "--out", out, "--workers", 2)
    held.kill_reader()
    held.give()
    _, err = run.communicate()
    assert run.returncode == ExitCode.INCOMPLETE, err
    assert (out / "manifest.json").read_bytes() == (undisturbed / "manifest.json").read_bytes()
    assert not list(out.glob(".part*")) and not (out / "attempts").exists()

    before = {name: (out / name).stat().st_mtime_ns for name in parts(out)}
    code, text, _ = completed(*words, "--out", out)
    assert code == ExitCode.INCOMPLETE and "0 of them now" in text
    assert {name: (out / name).stat().st_mtime_ns for name in parts(out)} == before


def test_a_picture_that_ends_its_process_again_and_again_is_reported(program, held, rows_of, tmp_path):
    out = tmp_path / "out"
    run = program("batch", held.path.parent, "--out", out, "--shard-size", 4, "--workers", 1)
    for _ in range(4):  # twice with its part, then once with others, then alone
        held.kill_reader()
    _, err = run.communicate()
    assert run.returncode == ExitCode.INCOMPLETE, err
    rows = rows_of(out)
    assert len(rows) == 10
    assert {file for file, row in rows.items() if row["error"]} == {"broken.jpg", "held.png"}
    assert "signal 9" in rows["held.png"]["error"]
    assert len(rows["more/7.png"]["faces"]) == 2


def test_ctrl_c_ends_cleanly_and_says_how_to_go_on(program, completed, held, rows_of, tmp_path):
    out = tmp_path / "out"
    run = program("batch", held.path.parent, "--out", out, "--shard-size", 10, "--workers", 1)
    _, end = held.reader()
    run.send_signal(signal.SIGINT)
    assert "stopping" in run.stderr.readline()
    held.give()
    os.close(end)
    _, err = run.communicate()
    assert run.returncode == ExitCode.INTERRUPTED
    assert f"batch --out {out}" in err
    assert parts(out) == [] and not (out / "manifest.json").exists()
    assert not list((out / "attempts").iterdir())

    held.give()
    code, _, err = completed("batch", "--out", out)
    assert code == ExitCode.INCOMPLETE, err
    assert len(rows_of(out)) == 10


def test_two_runs_at_once_share_the_work(program, few_pictures, rows_of, tmp_path):
    words = ("batch", few_pictures, "--out", tmp_path / "out", "--shard-size", 1, "--workers", 1)
    runs = [program(*words), program(*words)]
    errors = [run.communicate()[1] for run in runs]
    assert [run.returncode for run in runs] == [ExitCode.INCOMPLETE] * 2, errors
    assert len(rows_of(tmp_path / "out")) == 9


def test_a_video_is_read_carefully_with_the_same_result(recognizer, people_video, settings, tmp_path):
    """Moment by moment, in a process of its own, as after crashes; its header says more than there is."""
    content = bytearray(people_video.read_bytes())
    of_media = content.index(b"mdhd") + 20
    content[of_media : of_media + 4] = b"\x7f\xff\xff\xff"
    (tmp_path / "long.mp4").write_bytes(content)
    facts = {"every_s": 0.25, "embeddings": "float16", "shard_size": 10, "networks": networks_of(recognizer)}
    job = Job(tmp_path, tmp_path, "", facts, settings, 1, 10, 10)
    (tmp_path / "attempts").mkdir()
    found = []
    for attempts in (b"", b".."):
        (tmp_path / "attempts" / "000000").write_bytes(attempts)
        assert attempts_of(tmp_path, 0) == len(attempts)
        assert make_part(job, Shard(0, video="long.mp4", first=5, count=5), recognizer, lambda row: True)
        found.append(job.part(0).read_bytes())
        job.part(0).unlink()
    assert found[0] == found[1]
