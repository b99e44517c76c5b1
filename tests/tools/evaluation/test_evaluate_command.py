"""`python -m app evaluate` from end to end, with the built-in networks."""

import json

import cv2
import numpy as np
import pytest

PAIRS = """2\t3
Eileen_Collins\t1\t2
Grace_Hopper\t1\t3
A_Stranger\t1\t2
Eileen_Collins\t1\tGrace_Hopper\t1
Eileen_Collins\t2\tA_Stranger\t1
Grace_Hopper\t2\tA_Stranger\t4
Eileen_Collins\t3\t4
Grace_Hopper\t2\t4
A_Stranger\t1\t3
Eileen_Collins\t3\tGrace_Hopper\t3
Eileen_Collins\t4\tA_Stranger\t3
Grace_Hopper\t4\tA_Stranger\t2
"""


def size_of(path):
    return cv2.imread(str(path)).shape


def test_verification(completed, lfw_folder, tmp_path):
    (tmp_path / "pairs.txt").write_text(PAIRS)
    words = ("--images", lfw_folder, "--pairs", "pairs.txt", "--json", "out.json", "--plots", "plots")
    code, out, err = completed("evaluate", "verification", *words)
    assert code == 0, err
    assert "12 pairs (6 of one person, 6 of two) of 12 pictures" in out
    assert "2 folds of the list" in out
    assert "10000" in out
    assert "the program's threshold" in out
    facts = json.loads((tmp_path / "out.json").read_text())
    assert facts["models"] == ["retinaface_mnet025", "mobilefacenet"]
    assert facts["accuracy"]["of"] == 12 and facts["accuracy"]["folds"] == "given"
    # Whatever the networks are worth: cuts of one picture are more alike than two people.
    assert facts["scores_of_one_person"]["mean"] > facts["scores_of_two_people"]["mean"] + 0.2
    assert facts["scores"][0] == {
        "a": "Eileen_Collins_0001",
        "b": "Eileen_Collins_0002",
        "same": True,
        "score": pytest.approx(facts["scores"][0]["score"]),
    }
    for name in ("roc.png", "scores.png"):
        assert size_of(tmp_path / "plots" / name)[:2] == (576, 768)


def test_pictures_without_a_face_are_named_and_their_pairs_are_wrong(completed, lfw_folder, tmp_path):
    lines = ["image_a,image_b,same", "Eileen_Collins_0001,Eileen_Collins_0002,1", "Grace_Hopper_0001,Nobody_0001,0"]
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    code, out, err = completed(
        "evaluate", "verification", "--images", lfw_folder, "--pairs", "pairs.csv", "--json", "out.json"
    )
    assert code == 0, err
    assert "no face found in 1 picture: Nobody_0001" in out
    assert "1 pair could not be compared" in out
    facts = json.loads((tmp_path / "out.json").read_text())
    assert facts["pictures_without_face"] == ["Nobody_0001"]
    assert (facts["accuracy"]["hits"], facts["accuracy"]["of"]) == (1, 2)
    assert facts["scores"][1]["score"] is None


def test_a_detector_finds_what_it_labelled_itself(completed, lfw_folder, tmp_path):
    code, out, err = completed("evaluate", "label", "--images", lfw_folder, "--out", "labels.txt")
    assert code == 0, err
    assert "13 pictures, 1 picture without a face; retinaface_mnet025, minimum score 0.7" in out
    words = ("--images", lfw_folder, "--labels", "labels.txt", "--json", "out.json", "--plots", "plots")
    code, out, err = completed("evaluate", "detection", *words)
    assert code == 0, err
    assert "pictures without a face: 1" in out
    facts = json.loads((tmp_path / "out.json").read_text())
    assert facts["found"]["value"] == facts["precise"]["value"] == 1
    assert facts["found"]["of"] >= 12
    assert facts["average_precision"] == 1
    assert facts["landmark_error"]["mean"] < 0.001
    assert facts["mistakes"] == {"missed": [], "false": []}
    assert facts["detection"]["min_score"] == 0.7
    assert size_of(tmp_path / "plots" / "precision.png")[:2] == (576, 768)


def test_coco_labels_and_what_was_missed(completed, lfw_folder, tmp_path):
    content = {
        "images": [{"id": 1, "file_name": "Nobody/Nobody_0001.jpg"}],
        "annotations": [{"image_id": 1, "bbox": [10, 20, 30, 40]}],
    }
    (tmp_path / "labels.json").write_text(json.dumps(content))
    code, out, err = completed(
        "evaluate", "detection", "--images", lfw_folder, "--labels", "labels.json", "--json", "out.json"
    )
    assert code == 0, err
    assert "0 of 1" in out
    facts = json.loads((tmp_path / "out.json").read_text())
    assert facts["mistakes"]["missed"] == [{"file": "Nobody/Nobody_0001.jpg", "box": [10.0, 20.0, 40.0, 60.0]}]


def test_a_folder_without_faces(completed, tmp_path):
    (tmp_path / "plain" / "deeper").mkdir(parents=True)
    for place in ("one.png", "deeper/two.png"):
        assert cv2.imwrite(str(tmp_path / "plain" / place), np.full((64, 96, 3), 90, np.uint8))
    code, out, err = completed("evaluate", "detection", "--images", "plain", "--without-faces")
    assert code == 0, err
    assert "pictures without a face: 2" in out
    assert "0.0000 [0.0000, 1.8444], 0 in 2 pictures" in out


@pytest.mark.parametrize(
    "words, message",
    [
        (("verification", "--pairs", "none.txt"), "none.txt cannot be read: No such file"),
        (("detection", "--labels", "none.json"), "none.json cannot be read: No such file"),
        (("detection", "--without-faces", "--json", "no/out.json"), "folder no"),
        (("detection", "--without-faces", "--iou", "7"), "--iou: '7'"),
        (("detection",), "one of the arguments --labels --without-faces is required"),
        (("label", "--out", "x.txt", "--input-size", "3"), "--input-size: '3'"),
    ],
)
def test_invalid_arguments_are_refused(answered, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    code, _, err = answered("evaluate", *words, "--images", tmp_path)
    assert code == 2 and message in err


def test_names_in_a_video(completed, people_video, people_gallery, tmp_path):
    (tmp_path / "truth.csv").write_text("first,last,names\n0,19,Eileen Collins|Grace Hopper\n20,39,Eileen Collins\n")
    words = (people_video, "--gallery", people_gallery, "--truth", "truth.csv", "--json", "out.json")
    code, out, err = completed("evaluate", "video", *words)
    assert code == 0, err
    facts = json.loads((tmp_path / "out.json").read_text())
    assert facts["frames"] == 40
    assert facts["faces"] == facts["right"] + facts["wrong"] + facts["unknown"]
    assert facts["people"]["Eileen Collins"]["visible"] == 40
    assert facts["people"]["Eileen Collins"]["right"] >= 35
    # Hopper is there until the end, so the name is wrong after frame 19.
    assert facts["people"]["Grace Hopper"]["visible"] == 20
    assert facts["wrong"] == 20
    assert [(wrong["name"], wrong["first"], wrong["last"]) for wrong in facts["mistakes"]] == [("Grace Hopper", 20, 39)]
    assert facts["switches"] == 0
    assert 0 < facts["first_name_s"] < 0.5
    assert 0 < facts["embeddings"] < facts["faces"]
    assert "Grace Hopper" in out and "wrong names:" in out


def test_names_of_the_truth_that_are_not_enrolled(completed, people_video, people_gallery, tmp_path):
    words = ("evaluate", "video", people_video, "--gallery", people_gallery, "--truth", "truth.csv")
    (tmp_path / "truth.csv").write_text("first,last,names\n0,39,Eilen Collins|Grace Hopper|Bob\n")
    code, out, err = completed(*words)
    assert (code, out) == (2, "") and "'Eilen Collins'" in err and "'Eileen Collins'" in err
    (tmp_path / "truth.csv").write_text("first,last,names\n0,3,Eileen Collins|Bob\n")
    code, out, err = completed(*words, "--max-frames", "4")
    assert code == 0 and "warning" in err and "'Bob'" in err and "'Eileen Collins'" not in err


def test_a_live_source_is_no_clip(completed, tmp_path):
    (tmp_path / "truth.csv").write_text("first,last,names\n")
    code, _, err = completed("evaluate", "video", "rtsp://localhost/x", "--truth", "truth.csv")
    assert code == 2
    assert "rtsp://localhost/x" in err
