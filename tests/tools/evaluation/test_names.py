"""Counting right and wrong names in a video, with results made by hand."""

import pytest
from made_results import frame, result

from app.errors import SourceError
from app.tools.evaluation.names import NameCount, read_truth
from app.types import Match, Reason

BOXES = ((0, 0, 10, 10), (50, 0, 60, 10), (100, 0, 110, 10))


def count_of(tmp_path, truth, *frames):
    """`frames`: for each frame the names of its faces, None for unknown; the tracks are 1, 2, 3."""
    (tmp_path / "truth.csv").write_text(truth)
    count = NameCount(read_truth(tmp_path / "truth.csv"))
    for index, names in enumerate(frames):
        matches = [Match(name, Reason.MATCHED if name else Reason.BELOW_THRESHOLD, 0.5) for name in names]
        tracks = range(1, len(names) + 1)
        count.handle(result(frame(index, position=index / 10), BOXES[: len(names)], matches, track_ids=list(tracks)))
    return count


def test_a_name_is_right_inside_its_range_and_wrong_outside(tmp_path):
    count = count_of(tmp_path, "first,last,names\n1,2,Ann|Ben\n", ["Ann"], ["Ann", "Ben"], ["Ann", None], ["Ben"])
    facts = count.as_json()
    assert (facts["frames"], facts["faces"]) == (4, 6)
    assert (facts["right"], facts["wrong"], facts["unknown"]) == (3, 2, 1)
    assert {name: (count["visible"], count["right"]) for name, count in facts["people"].items()} == {
        "Ann": (2, 2),
        "Ben": (2, 1),
    }
    assert [(mistake["name"], mistake["first"], mistake["last"]) for mistake in facts["mistakes"]] == [
        ("Ann", 0, 0),
        ("Ben", 3, 3),
    ]


def test_a_second_face_with_the_same_name_is_wrong(tmp_path):
    count = count_of(tmp_path, "first,last,names\n0,9,Ann\n", ["Ann", "Ann"], ["Ann", "Ann"])
    assert (count.right, count.wrong) == (2, 2)
    assert count.people()["Ann"].right == 2
    assert [(mistake.track, mistake.first, mistake.last, mistake.twice) for mistake in count.mistakes] == [
        (2, 0, 1, True)
    ]


def test_ranges_that_touch_are_one_appearance(tmp_path):
    truth = "first,last,names\n0,1,Ann\n2,3,Ann|Ben\n6,7,Ann\n"
    count = count_of(tmp_path, truth, [None], [None], ["Ann"], ["Ann"], [], [], [None], [None])
    ann = count.people()["Ann"]
    assert (ann.appearances, ann.waits_s) == (2, (0.2,))
    assert count.as_json()["first_name_s"] == 0.2
    assert count.people()["Ben"].waits_s == ()


def test_people_are_counted_in_processed_frames_only(tmp_path):
    count = count_of(tmp_path, "first,last,names\n0,99,Ann\n200,300,Ben\n", ["Ann"])
    assert count.people()["Ann"].visible == 1
    assert count.people()["Ben"].visible == 0
    assert "Ben" in count.text()


def test_a_switch_is_another_name_on_the_same_track(tmp_path):
    truth = "first,last,names\n0,9,Ann|Ben\n"
    assert count_of(tmp_path, truth, ["Ann"], [None], ["Ann"], ["Ben"]).switches == 1
    assert count_of(tmp_path, truth, ["Ann", None], [None, "Ben"]).switches == 0


def test_an_empty_truth_makes_every_name_wrong(tmp_path):
    count = count_of(tmp_path, "first,last,names\n", ["Ann"])
    assert (count.right, count.wrong) == (0, 1)
    assert count.as_json()["first_name_s"] is None


@pytest.mark.parametrize(
    "content, where",
    [
        ("begin,end,who\n", "first,last,names"),
        ("", "first,last,names"),
        ("first,last,names\n0,5,Ann\n6,x,Ben\n", "line 3"),
        ("first,last,names\n0,5\n", "line 2"),
        ("first,last,names\n5,4,Ann\n", "line 2"),
        ("first,last,names\n-1,4,Ann\n", "line 2"),
    ],
)
def test_mistakes_in_the_truth_are_located(tmp_path, content, where):
    (tmp_path / "truth.csv").write_text(content)
    with pytest.raises(SourceError, match=f"truth.csv.*{where}"):
        read_truth(tmp_path / "truth.csv")


def test_spaces_a_byte_order_mark_and_empty_lines_do_not_matter(tmp_path):
    (tmp_path / "truth.csv").write_bytes("\ufefffirst,last,names\r\n0, 5 ,Ann | Zoë\r\n\r\n6,6,\r\n".encode())
    first, second = read_truth(tmp_path / "truth.csv")
    assert first == (0, 5, {"Ann", "Zoë"})
    assert second == (6, 6, frozenset())


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"none\.csv"):
        read_truth(tmp_path / "none.csv")
