"""Archives whose files, disk or pictures change, vanish or are odd."""

import contextlib
import json
import os
import shutil
import subprocess
import threading

import cv2
import pytest
from waiting import until

from app.archive import job as jobs
from app.archive.inputs import Inputs, find_inputs
from app.archive.job import prepare, stored_job
from app.archive.parts import TEMPORARY, write_part
from app.archive.pool import Counts, Made
from app.archive.rows import Row
from app.archive.running import run_job
from app.archive.shard import make_part
from app.archive.video import sample_count, samples
from app.errors import AppError, ExitCode, OutputError, SettingsError
from app.settings import Settings

FACTS = {"shard_size": 2, "every_s": 1.0, "embeddings": "float16", "networks": {}}


@pytest.fixture
def copied(archive, tmp_path):
    shutil.copytree(archive, tmp_path / "copy")
    return tmp_path / "copy"


def test_a_plan_that_is_gone_is_said_and_written_again(
    copied, answered, few_pictures, people_video, config_file, tmp_path
):
    plan = copied / "plan.jsonl"
    before = plan.read_bytes()
    plan.unlink()
    assert answered("batch", "status", copied)[0] == ExitCode.DONE
    words = ("batch", "--out", copied, "--config", config_file)
    code, _, err = answered(*words)
    assert code == ExitCode.USER_ERROR and str(plan) in err
    plan.write_bytes(before.replace(b"0.png", b"9.png"))
    code, _, err = answered(*words)
    assert code == ExitCode.USER_ERROR and str(plan) in err
    plan.write_bytes(b"{")
    code, _, err = answered(*words)
    assert code == ExitCode.USER_ERROR and str(plan) in err
    plan.unlink()
    code, _, err = answered(*words, few_pictures, people_video, "--every", 0.5)
    assert code == ExitCode.INCOMPLETE, err
    assert plan.read_bytes() == before


def test_folders_whose_names_are_no_text(answered, portraits, config_file, tmp_path):
    root = tmp_path / os.fsdecode(b"caf\xe9")
    root.mkdir()
    for name, portrait in zip((b"a.png", b"\xe9.png"), portraits):
        (root / os.fsdecode(name)).write_bytes(cv2.imencode(".png", portrait.image)[1].tobytes())
    (root / os.fsdecode(b"\xe9.mp4")).write_bytes(b"no video")
    options = ("--config", config_file)
    code, text, err = answered("batch", root, "--out", tmp_path / "out", "--workers", 1, *options)
    assert code == ExitCode.INCOMPLETE, err
    assert "2 pictures and 1 moment of a video" in text
    code, text, _ = answered("batch", "status", tmp_path / "out", "--errors", "--json")
    assert json.loads(text)["file"] == r"\xe9.mp4" and str(tmp_path) not in json.loads(text)["error"]
    assert answered("batch", "status", tmp_path / "out")[0] == ExitCode.DONE
    sheet = tmp_path / "people.html"
    code, _, err = answered("batch", "cluster", tmp_path / "out", "--sheet", sheet, "--min-faces", 1, *options)
    assert code == ExitCode.DONE, err
    assert sheet.read_text().count("data:image/jpeg") == 2


def test_a_header_with_an_absurd_duration_is_not_believed(people_video, tmp_path):
    content = bytearray(people_video.read_bytes())
    of_media = content.index(b"mdhd") + 20
    content[of_media : of_media + 4] = b"\x7f\xff\xff\xff"  # 6.6 hours, in a file of some 100 kB
    path = tmp_path / "long.mp4"
    path.write_bytes(content)
    assert sample_count(path, 0.25) == 7
    found = list(samples(path, range(7), 0.25))
    assert len(found) == 7 and not any(sample.error for sample in found)
    *_, last = samples(path, range(6, 100), 0.25)
    assert last.position_s == 1.75 and last.error, "said once, not for each moment that is missing"


class _Pipe:
    """A file that cannot be sought in, as the recorder of a camera writes to."""

    def __init__(self):
        self.content = b""

    def write(self, data):
        self.content += bytes(data)
        return len(data)


def test_a_recording_without_a_duration_is_read_to_its_end(people_video, tmp_path):
    av = pytest.importorskip("av")
    pipe = _Pipe()
    with av.open(str(people_video)) as source, av.open(pipe, "w", format="matroska") as target:
        stream = source.streams.video[0]
        same = getattr(target, "add_stream_from_template", None)
        copy = same(stream) if same else target.add_stream(template=stream)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.stream = copy
                target.mux(packet)
    path = tmp_path / "stream.mkv"
    path.write_bytes(pipe.content)
    with av.open(str(path)) as container:
        assert container.duration is None
    assert sample_count(path, 0.25) == 7


def test_links_do_not_lead_in_circles(few_pictures, recognizer, tmp_path, caplog):
    from app.archive.rows import picture_row

    folder = tmp_path / "pictures"
    shutil.copytree(few_pictures, folder)
    (folder / "more" / "up").symlink_to(folder)
    (folder / "self.png").symlink_to(folder / "self.png")
    (folder / "linked.png").symlink_to(folder / "0.png")
    found = find_inputs([folder], tmp_path / "out")
    assert len(found.pictures) == 11
    assert str(folder / "more" / "up") in caplog.text
    assert "symbolic links" in picture_row(folder, "self.png", recognizer).error


def test_pictures_that_change_or_vanish_after_they_were_listed(answered, few_pictures, config_file, rows_of, tmp_path):
    folder, out = tmp_path / "pictures", tmp_path / "out"
    shutil.copytree(few_pictures, folder)
    words = ("batch", "--out", out, "--workers", 1, "--shard-size", 3, "--config", config_file)
    assert answered(*words, folder)[0] == ExitCode.INCOMPLETE
    for made in (*out.glob("part-*"), out / "manifest.json"):
        made.unlink()
    (folder / "0.png").unlink()
    shutil.copy(folder / "3.png", folder / "1.png")
    assert answered(*words)[0] == ExitCode.INCOMPLETE
    rows = rows_of(out)
    assert "No such file" in rows["0.png"]["error"]
    assert rows["1.png"]["faces"] == rows["3.png"]["faces"] != []
    code, _, err = answered(*words, folder)
    assert code == ExitCode.USER_ERROR and "other files: 9 pictures" in err and "now 8 pictures" in err


@contextlib.contextmanager
def small_disk(folder):
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("this user may not mount a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_folder_that_cannot_be_written_is_said_and_can_still_be_asked(
    archive, answered, few_pictures, people_gallery, config_file, tmp_path
):
    out = tmp_path / "out"
    options = ("--config", config_file)
    with small_disk(out):
        shutil.copytree(archive, out / "archive")
        subprocess.run(["mount", "-o", "remount,ro", out], check=True)
        for words in ((few_pictures, "--out", out / "new"), ("--out", out / "archive")):
            code, _, err = answered("batch", *words, *options)
            assert code == ExitCode.USER_ERROR and str(out) in err and "Read-only" in err
        assert answered("batch", "status", out / "archive")[0] == ExitCode.DONE
        assert answered("batch", "search", out / "archive", few_pictures / "1.png", *options)[0] == ExitCode.DONE
        for words in (("cluster",), ("label", "--gallery", people_gallery)):
            code, _, err = answered("batch", words[0], out / "archive", *words[1:], *options)
            assert code == ExitCode.USER_ERROR and "parquet" in err and "Read-only" in err


def test_two_runs_that_begin_at_once_do_not_mix_their_plans(tmp_path):
    """The second one writes its plan while the first one is about to."""
    out = tmp_path / "out"
    other = prepare(tmp_path / "other", Inputs(tmp_path, [("b.png", 1)], []), FACTS, Settings())
    out.mkdir()
    problems = []

    def begin():
        try:
            prepare(out, Inputs(tmp_path, [("a.png", 1)], []), FACTS, Settings())
        except AppError as error:
            problems.append(error)

    with jobs.locked(out / jobs.PLAN_LOCK, 0.0):
        thread = threading.Thread(target=begin)
        thread.start()
        until(lambda: list(out.glob(".plan.jsonl.*.part")))
        for name in (jobs.PLAN_FILE, jobs.JOB_FILE):
            shutil.copy(other.out / name, out / name)
    thread.join()
    assert [type(problem) for problem in problems] == [SettingsError]
    assert list(stored_job(out, Settings()).plan()) == list(other.plan())
    assert not list(out.glob(".plan.jsonl.*"))


def test_a_plan_is_not_written_while_another_program_writes_one(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "PLAN_LOCK_WAIT_S", 0.01)
    out = tmp_path / "out"
    out.mkdir()
    with jobs.locked(out / jobs.PLAN_LOCK, 0.0), pytest.raises(OutputError, match="in use"):
        prepare(out, Inputs(tmp_path, [("a.png", 1)], []), FACTS, Settings())
    assert [path.name for path in out.iterdir()] == [jobs.PLAN_LOCK]


def test_another_run_that_is_complete_may_clean_up_meanwhile(tmp_path):
    """It removes the files of parts that are being written, as what a killed process left."""
    job = prepare(tmp_path / "out", Inputs(tmp_path, [("a.png", 1)], []), FACTS, Settings())
    part = write_part(job, 0, [Row("a.png")], 128)
    ended = threading.Event()

    def clean():
        while not ended.is_set():
            for path in job.out.glob(TEMPORARY):
                path.unlink(missing_ok=True)

    thread = threading.Thread(target=clean)
    thread.start()
    try:
        assert all(write_part(job, 0, [Row("a.png")], 128) == part for _ in range(40))
    finally:
        ended.set()
        thread.join()


def test_parts_that_are_finished_while_the_run_ends_are_counted(few_pictures, recognizer, tmp_path):
    """As by a process that was stopped after its last picture, or by another run."""
    facts = {**FACTS, "networks": jobs.networks_of(recognizer)}
    job = prepare(tmp_path / "out", find_inputs([few_pictures], tmp_path / "out"), facts, Settings())

    def unheard(job, shards):
        shard = next(shards)
        assert make_part(job, shard, recognizer, lambda row: True)
        yield Made([], Counts())

    state = run_job(job, unheard, lambda state: None)
    assert (state.parts, state.counts.rows, job.shards) == (1, 2, 5)
    assert state.line(state.began_at + 4).split(" | ") == [
        "[##--------] 22 %",
        "2 of 9",
        "0.5/s",
        "14 s left",
        "2 faces",
    ]
