"""Faces of a video count as found from the first box that overlaps them."""

import pytest
from made_results import STRANGER, frame, result

from app.errors import SourceError
from app.tools.evaluation.appearances import FoundFaces, percentile_of_waits, read_boxes

HEADER = "frame,face,x1,y1,x2,y2\n"


def found_in(tmp_path, truth, *frames):
    """`frames`: the boxes of each frame, ten a second."""
    (tmp_path / "boxes.csv").write_text(HEADER + truth)
    found = FoundFaces(read_boxes(tmp_path / "boxes.csv"))
    for index, boxes in enumerate(frames):
        found.handle(result(frame(index, position=index / 10), boxes, [STRANGER] * len(boxes)))
    return found


def test_a_face_is_found_when_the_first_box_overlaps_it(tmp_path):
    truth = "".join(f"{at},7,10,10,30,34\n" for at in range(1, 15))
    found = found_in(tmp_path, truth, [], [], [(60, 60, 80, 80)], [], [(12, 11, 32, 35)], *[[]] * 10)
    (appearance,) = found.appearances.values()
    assert (appearance.frames, appearance.found_frames) == (14, 1)
    assert appearance.found_after_s == pytest.approx(0.3) and appearance.found_soon
    assert found.false_boxes == 1


def test_a_face_that_is_found_late_or_never_is_not_found_soon(tmp_path):
    truth = "".join(f"{at},1,10,10,30,34\n{at},2,100,10,200,140\n" for at in range(14))
    found = found_in(tmp_path, truth, *[[]] * 12, [(10, 10, 30, 34)], [])
    facts = found.as_json()["found"]
    assert list(facts) == ["16-32", "64-128"]
    assert facts["16-32"]["found_soon"]["value"] == 0
    assert facts["16-32"]["wait_p50_s"] == 1.2
    assert facts["64-128"]["wait_p50_s"] is None
    assert facts["64-128"]["appearances"] == 1


def test_two_appearances_of_a_face_are_counted_apart(tmp_path):
    found = found_in(tmp_path, "0,1,10,10,50,50\n2,2,10,10,50,50\n", [(10, 10, 50, 50)], [], [])
    assert found.as_json()["found"]["32-64"]["found_soon"]["value"] == 0.5


@pytest.mark.parametrize(
    ("waits", "share", "expected"),
    [([0.1] * 19 + [0.7], 0.95, 0.1), ([0.1] * 18 + [0.7] * 2, 0.95, 0.7), ([0.1, None], 0.95, None), ([], 0.5, None)],
)
def test_what_never_happens_counts_in_a_percentile(waits, share, expected):
    assert percentile_of_waits(waits, share) == expected


@pytest.mark.parametrize("line", ["1,2,3", "1,1,5,5,5,9", "-1,1,0,0,9,9", "a,1,0,0,9,9"])
def test_a_mistake_in_the_truth_is_reported_with_its_line(tmp_path, line):
    (tmp_path / "boxes.csv").write_text(f"{HEADER}0,1,0,0,9,9\n{line}\n")
    with pytest.raises(SourceError, match=r"boxes\.csv, line 3"):
        read_boxes(tmp_path / "boxes.csv")
