"""`batch` on the command line, and what it writes."""

import json
import os
import shutil
import subprocess

import cv2
import numpy as np
import pytest

from app.archive.inputs import find_inputs
from app.errors import ExitCode, SourceError


def test_an_archive_has_a_row_for_each_picture_and_moment(archive, few_pictures, recognizer, rows_of):
    from app.capture.pictures import read_picture

    rows = rows_of(archive)
    files = {file.rpartition("/")[2]: row for file, row in rows.items()}
    assert set(files) == {*(f"{number}.png" for number in range(8)), "broken.jpg", "people.mp4"}
    assert files["broken.jpg"]["error"] and not files["broken.jpg"]["faces"]
    image = read_picture(few_pictures / "3.png")
    (found,) = recognizer.find([image])
    expected = recognizer.embed(image, found)
    kept = files["3.png"]["faces"]
    assert [face["score"] for face in kept] == pytest.approx(found.scores.tolist(), abs=1e-4)
    assert np.array([face["embedding"] for face in kept]) == pytest.approx(expected.embeddings, abs=1e-3)
    assert [[face[key] for key in ("x1", "y1", "x2", "y2")] for face in kept] == [
        pytest.approx(box, abs=0.01) for box in found.boxes.tolist()
    ]


def test_the_manifest_lists_every_part_with_its_hash(archive):
    manifest = json.loads((archive / "manifest.json").read_text())
    sums = subprocess.run(
        ["sha256sum", *(part["file"] for part in manifest["parts"])], cwd=archive, capture_output=True, text=True
    ).stdout.split()[::2]
    assert [part["sha256"] for part in manifest["parts"]] == sums
    assert (manifest["rows"], manifest["errors"]) == (13, 1)


def test_status_counts_and_lists_errors(archive, answered, tmp_path):
    code, out, _ = answered("batch", "status", archive, "--json")
    facts = json.loads(out)
    assert code == ExitCode.DONE
    assert (facts["complete"], facts["pictures_done"], facts["moments_done"], facts["errors"]) == (True, 9, 4, 1)
    assert "9 pictures and 4 moments of videos" in answered("batch", "status", archive)[1]
    code, out, _ = answered("batch", "status", archive, "--errors", "--json")
    assert [json.loads(line)["file"].rpartition("/")[2] for line in out.splitlines()] == ["broken.jpg"]
    assert answered("batch", "status", tmp_path)[0] == ExitCode.USER_ERROR


def test_a_damaged_part_is_named(archive, answered, tmp_path):
    shutil.copytree(archive, tmp_path / "copy")
    part = tmp_path / "copy" / "part-000000.parquet"
    part.write_bytes(part.read_bytes()[:-100])
    code, _, err = answered("batch", "status", tmp_path / "copy")
    assert code == ExitCode.USER_ERROR and str(part) in err


def test_other_files_or_settings_need_another_folder(archive, answered, few_pictures, config_file, tmp_path):
    words = ("batch", "--out", archive, "--config", config_file)
    code, _, err = answered(*words, few_pictures, "--every", 0.5)
    assert code == ExitCode.USER_ERROR and "other files" in err
    code, _, err = answered(*words, "--input-size", 320)
    assert code == ExitCode.USER_ERROR and "320" in err


def test_what_cannot_be_read_is_said_before_anything_is_written(answered, config_file, tmp_path):
    for place in (tmp_path / "nothing", config_file, tmp_path):
        code, _, err = answered("batch", place, "--out", tmp_path / "out", "--config", config_file)
        assert code == ExitCode.USER_ERROR and str(place) in err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_list_has_lines_and_may_come_from_windows(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbfpictures/a.jpg\r\n\r\npictures/b.jpg\r\n")
    found = find_inputs([tmp_path / "list.txt"], tmp_path / "out")
    assert [file for file, _ in found.pictures] == ["a.jpg", "b.jpg"]
    (tmp_path / "list.txt").write_bytes(b"pictures/a.jpg\0pictures/b.jpg\0")  # find -print0
    with pytest.raises(SourceError, match="zero bytes"):
        find_inputs([tmp_path / "list.txt"], tmp_path / "out")


def test_a_full_disk_is_said_and_the_batch_goes_on_later(completed, few_pictures, rows_of, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20k", "tmpfs", out], capture_output=True).returncode:
        pytest.skip("this user may not mount a small disk")
    try:
        code, _, err = completed("batch", few_pictures, "--out", out, "--workers", 1, "--shard-size", 1)
        assert code == ExitCode.USER_ERROR and "No space left" in err and "Ctrl-C" not in err
        assert not list(out.glob(".part*"))
        subprocess.run(["mount", "-o", "remount,size=1m", out], check=True)
        code, _, err = completed("batch", "--out", out, "--workers", 1)
        assert code == ExitCode.INCOMPLETE, err
        assert len(rows_of(out)) == 9
    finally:
        subprocess.run(["umount", "--lazy", out], check=True)


def test_names_that_are_no_text_and_large_pictures(tmp_path, portraits, recognizer):
    from app.archive.rows import picture_row

    large = cv2.resize(portraits[0].image, (6000, 6000))
    name = b"caf\xe9.jpg"
    (tmp_path / os.fsdecode(name)).write_bytes(cv2.imencode(".jpg", large)[1].tobytes())
    row = picture_row(tmp_path, os.fsdecode(name), recognizer)
    assert row.file == r"caf\xe9.jpg"
    assert (row.width, row.height) == (6000, 6000)
    x1, y1, x2, y2 = row.faces.boxes[0]
    assert 0.3 < (x1 + x2) / 2 / 6000 < 0.6 and 0.1 < (y1 + y2) / 2 / 6000 < 0.4


def test_the_frame_of_a_moment_does_not_depend_on_where_reading_began(people_video):
    from app.archive.video import sample_count, samples

    assert sample_count(people_video, 0.25) == 7
    together = list(samples(people_video, range(7), 0.25))
    apart = [next(samples(people_video, range(at, at + 1), 0.25)) for at in range(7)]
    assert [sample.position_s for sample in together] == pytest.approx([0, 0.28, 0.52, 0.76, 1, 1.28, 1.52])
    for one, other in zip(together, apart):
        assert one.position_s == other.position_s and np.array_equal(one.image, other.image)


def test_a_video_that_cannot_be_read_is_one_error(tmp_path):
    from app.archive.video import sample_count, samples

    path = tmp_path / "broken.mp4"
    path.write_bytes(b"no video")
    assert sample_count(path, 1.0) == 1
    (sample,) = samples(path, range(1), 1.0)
    assert sample.image is None and sample.error


def test_an_estimate_follows_from_a_sample_and_writes_nothing(answered, config_file, few_pictures):
    before = sorted(few_pictures.rglob("*"))
    words = ("batch", "estimate", few_pictures, "--sample", 4, "--pictures", 4000, "--cores", 10, "--json")
    code, out, err = answered(*words, "--config", config_file)
    assert code == ExitCode.DONE, err
    facts = json.loads(out)
    pictures = facts["pictures"]
    assert (pictures["sample"], pictures["count"], facts["cores"]) == (4, 4000, 10)
    assert facts["seconds"] == pytest.approx(400 / pictures["per_s_and_core"], rel=0.02)
    assert facts["bytes"] == pytest.approx(4000 * pictures["bytes_each"], rel=0.01)
    assert sorted(few_pictures.rglob("*")) == before


def test_an_estimate_says_how_large_the_parts_will_be(answered, config_file, portraits, tmp_path):
    folder, out = tmp_path / "pictures", tmp_path / "out"
    folder.mkdir()
    for number in range(50):
        image = cv2.resize(portraits[number % len(portraits)].image, (160, 160))
        cv2.imwrite(str(folder / f"{number:02d}.png"), np.roll(image, number % 7, axis=1))
    code, _, err = answered("batch", folder, "--out", out, "--workers", 1, "--config", config_file)
    assert code == ExitCode.DONE, err
    sizes = [part.stat().st_size for part in out.glob("part-*.parquet")]
    for sample in (5, 20, 50):
        _, text, _ = answered("batch", "estimate", folder, "--sample", sample, "--config", config_file, "--json")
        pictures = json.loads(text)["pictures"]
        assert pictures["bytes"] == pytest.approx(sum(sizes), rel=0.25), sample
        assert pictures["parts"] == len(sizes)


def test_an_estimate_reads_stretches_of_videos(answered, config_file, few_pictures, people_video):
    words = ("batch", "estimate", few_pictures, people_video, "--every", 0.1, "--sample", 4, "--config", config_file)
    code, out, err = answered(*words, "--json")
    assert code == ExitCode.DONE, err
    facts = json.loads(out)
    moments = facts["moments"]
    assert (moments["count"], moments["sample"], moments["faces_in_each"]) == (16, 4, 3)
    assert facts["bytes"] == pytest.approx(facts["pictures"]["bytes"] + moments["bytes"], abs=1)
    code, out, _ = answered("batch", "estimate", people_video, "--config", config_file)
    assert code == ExitCode.DONE and "moments of 1 video" in out
    code, _, err = answered("batch", "estimate", people_video, "--pictures", 9, "--config", config_file)
    assert code == ExitCode.USER_ERROR and "--pictures 9" in err and str(people_video) in err


def test_a_video_that_was_recorded_sideways_is_turned(people_video, tmp_path):
    from app.archive.video import samples

    content = people_video.read_bytes()
    one, minus_one, zero, last = b"\0\1\0\0", b"\xff\xff\0\0", bytes(4), b"\x40\0\0\0"
    upright = one + zero * 3 + one + zero * 3 + last
    for name, matrix in {
        "right": zero + one + zero + minus_one + zero * 4 + last,
        "left": zero + minus_one + zero + one + zero * 4 + last,
        "upside down": minus_one + zero * 3 + minus_one + zero * 3 + last,
    }.items():
        path = tmp_path / f"{name}.mp4"
        # The last one is that of the track.
        before, _, after = content.rpartition(upright)
        path.write_bytes(before + matrix + after)
        expected = cv2.VideoCapture(str(path)).read()[1]
        (sample,) = samples(path, range(1), 1.0)
        assert sample.image.shape == expected.shape, name
        assert np.abs(sample.image.astype(int) - expected).mean() < 5, name
