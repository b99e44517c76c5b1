"""The settings with the fewest errors, and passes that survive a kill."""

import json
import signal

import numpy as np
import pytest
from waiting import until

from app.errors import AppError
from app.tools.evaluation.detection import IGNORED, NO_LABEL, PictureMatch
from app.tools.evaluation.labels import LabelledFace, labelled_picture
from app.tools.evaluation.optimisation import SCORES, PassFile, PassKey, best_choice, count_pass, ranked

KEY = PassKey("net", "abc", 640, 0.4)
SIZES = ("320", "480", "640")


def counts_of(labels, ms_per_picture=1.0):
    """`labels` are pairs of a score and the row of a label, NO_LABEL or IGNORED; there are three labels."""
    scores = np.array([score for score, _ in labels])
    rows = np.array([row for _, row in labels])
    match = PictureMatch(np.zeros((len(rows), 4)), scores, rows, np.full(len(rows), np.nan))
    faces = [LabelledFace(10 * x, 0, 9, 9) for x in range(3)]
    return count_pass([labelled_picture("a.jpg", faces, "")], [match], ms_per_picture)


def test_errors_are_missed_faces_and_false_positives_at_each_score():
    counts = counts_of([(0.9, 0), (0.8, NO_LABEL), (0.7, 1), (0.6, IGNORED), (0.3, NO_LABEL)])
    at = {score: (hits, false) for score, hits, false in zip(SCORES, counts.hits, counts.false)}
    assert counts.labels == 3
    assert (at[0.05], at[0.3], at[0.31], at[0.7], at[0.71], at[0.9], at[0.91]) == (
        (2, 2), (2, 2), (2, 1), (2, 1), (1, 1), (1, 0), (0, 0),
    )  # fmt: skip


def test_of_equally_good_scores_the_middle_is_chosen():
    choice = best_choice(KEY, counts_of([(0.8, 0), (0.8, 1), (0.8, 2), (0.4, NO_LABEL)]))
    assert (choice.errors, choice.equally_good, choice.min_score) == (0, (0.41, 0.8), 0.61)


def test_the_fewest_errors_are_first_and_of_these_the_fastest():
    good = [(0.8, 0), (0.8, 1), (0.8, 2)]
    passes = {
        KEY._replace(detector="slow"): counts_of(good, 9),
        KEY._replace(detector="bad"): counts_of(good[:1], 1),
        KEY._replace(detector="fast"): counts_of(good, 2),
    }
    assert [choice.key.detector for choice in ranked(passes)] == ["fast", "slow", "bad"]


def test_an_incomplete_line_is_removed_and_complete_ones_stay(tmp_path):
    path, counts = tmp_path / "passes.jsonl", counts_of([(0.8, 0)])
    with PassFile(path, {"iou": 0.5}) as kept:
        kept.add(KEY, counts)
    complete = path.read_bytes()
    path.write_bytes(complete + b'{"detector": "ne')
    with PassFile(path, {"iou": 0.5}) as kept:
        assert kept.passes == {KEY: counts}
    assert path.read_bytes() == complete


@pytest.mark.parametrize("content", ["hello\n", "[]\n", '{"iou": 0.5}\n{"detector": 1}\n', '{"iou": 0.6}\n', "{}\n"])
def test_another_file_is_refused_and_not_changed(tmp_path, content):
    path = tmp_path / "passes.jsonl"
    path.write_text(content)
    with pytest.raises(AppError, match=str(path)):
        PassFile(path, {"iou": 0.5})
    assert path.read_text() == content


def test_a_file_that_another_process_writes_is_refused(tmp_path):
    with PassFile(tmp_path / "passes.jsonl", {}), pytest.raises(AppError, match="another process"):
        PassFile(tmp_path / "passes.jsonl", {})


@pytest.fixture
def words(completed, lfw_folder):
    code, _, err = completed("evaluate", "label", "--images", lfw_folder, "--out", "labels.txt")
    assert code == 0, err
    return ("evaluate", "optimise", "--images", lfw_folder, "--labels", "labels.txt", "--input-sizes", *SIZES)


def test_the_settings_that_made_the_labels_have_no_errors(completed, words, tmp_path):
    more = ("--nms-ious", "0.4", "--json", "out.json", "--best", "2")
    code, out, err = completed(*words, *more)
    assert code == 0, err
    facts = json.loads((tmp_path / "out.json").read_text())
    assert len(facts["best"]) == 2
    best = facts["best"][0]
    assert best["errors"] == 0 and facts["checked"] == {"missed": 0, "false": 0}
    assert f"min_score: {best['min_score']:g}\n" in out and f"input_size: {best['key']['input_size']}\n" in out
    (tmp_path / "best.yaml").write_text(
        (tmp_path / "test.yaml").read_text().replace("gallery:", f"  detector: {best['key']['detector']}\ngallery:")
        + out[out.index("detection:\n") :]
    )
    # What is to be pasted is valid, and measures the same.
    again = ("evaluate", "detection", *words[2:6], "--json", "again.json")
    (tmp_path / "best.yaml").replace(tmp_path / "test.yaml")
    code, _, err = completed(*again)
    assert code == 0, err
    assert json.loads((tmp_path / "again.json").read_text())["mistakes"] == {"missed": [], "false": []}


def test_after_a_kill_only_the_missing_passes_are_made(program, completed, words, tmp_path):
    path = tmp_path / "optimise.jsonl"
    process = program(*words)
    until(lambda: path.exists() and path.read_bytes().count(b"\n") >= 2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = path.read_bytes()
    before = before[: before.rfind(b"\n") + 1]
    kept = before.count(b"\n") - 1
    code, out, err = completed(*words)
    assert code == 0, err
    assert f"{kept} of 9 passes are already in" in out
    assert path.read_bytes().startswith(before)
    keys = [json.loads(line) for line in path.read_text().splitlines()[1:]]
    assert len({(fact["input_size"], fact["nms_iou"]) for fact in keys}) == len(keys) == 9


def test_ctrl_c_keeps_the_finished_passes(program, words, tmp_path):
    path = tmp_path / "optimise.jsonl"
    process = program(*words)
    until(lambda: path.exists() and path.read_bytes().count(b"\n") >= 2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    assert "optimise.jsonl" in err and "Traceback" not in err
    assert path.read_bytes().endswith(b"\n")


def test_passes_of_other_labels_are_not_mixed_in(completed, words, tmp_path):
    code, _, err = completed(*words[:-3], "320", "--nms-ious", "0.4")
    assert code == 0, err
    code, _, err = completed(*words[:-3], "320", "--nms-ious", "0.4", "--min-label-px", "300")
    assert code == 2 and "labels_and_pictures" in err
