"""The indexes of large galleries give the answers of an exact search, whatever the gallery looks like."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.identity import index as index_module
from app.identity import nearest_rows
from app.identity.index import IndexKind, PersonIndex, chosen_kind, decide
from app.identity.nearest_rows import HalfRows

SIZE = 16
THRESHOLD, MARGIN = 0.5, 0.03


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


@st.composite
def galleries(draw):
    """Rows, people and faces: with copies, people of many photos, ties, and rows that are not numbers."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    photos = draw(st.lists(st.sampled_from([1, 1, 2, 5, 90]), min_size=1, max_size=12))
    spread = draw(st.sampled_from([0.0, 1e-4, 0.2, 1.0]))
    centres = unit(rng.normal(size=(len(photos), SIZE)))
    if draw(st.booleans()):
        centres[rng.integers(0, len(centres))] = centres[0]
    people = np.repeat(np.arange(len(photos)), photos)
    rows = unit(centres[people] + spread * rng.normal(size=(len(people), SIZE)))
    if draw(st.booleans()):
        rows[rng.random(len(rows)) < 0.2] = rows[0]
    if draw(st.booleans()):
        rows[rng.random(len(rows)) < 0.1] = np.nan
    faces = np.concatenate(
        [unit(rows[rng.integers(0, len(rows), 4)] + 0.1 * rng.normal(size=(4, SIZE))), rows[:2], centres[:1]]
    )
    return rows, [f"p{number}" for number in people], unit(faces) if draw(st.booleans()) else faces.astype(np.float32)


def brute_force(rows, people, photos, face):
    """The nearest three, each person by the best photo: everything in double precision, in the order of the rows."""
    best = {}
    for row, person, photo in zip(rows, people, photos):
        similarity = float(np.float32(np.einsum("i,i->", row.astype(np.float64), face.astype(np.float64))))
        if similarity == similarity and similarity > best.get(person, (-9.0,))[0]:
            best[person] = (similarity, photo)
    ordered = sorted(best.items(), key=lambda one: (-one[1][0], photos.index(one[1][1])))
    return [(person, similarity, photo) for person, (similarity, photo) in ordered[:3]]


def build(kind, rows, people, before=None, photos=None):
    photos = photos or [f"{number}.jpg" for number in range(len(rows))]
    return PersonIndex(rows, people, photos, kind=kind, before=before).finished()


def nearest(found):
    return [(one.name, pytest.approx(one.similarity, abs=1e-6), one.photo) for one in found.nearest]


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(galleries())
def test_every_index_finds_what_looking_at_everyone_finds(gallery):
    rows, people, faces = gallery
    indexes = {kind: build(kind, rows, people) for kind in ("flat", "fp16", "hnsw")}
    photos = [f"{number}.jpg" for number in range(len(rows))]
    expected = indexes["flat"].search(faces)
    for face, found in zip(faces, expected):
        if np.isfinite(face).all():
            assert nearest(found) == brute_force(rows, people, photos, face)
        else:
            assert found.similarity != found.similarity
    for kind in ("fp16", "hnsw"):
        assert repr(indexes[kind].search(faces)) == repr(expected), kind
    assert decisions(indexes["hnsw"], faces) == decisions(indexes["flat"], faces)


def decisions(index, faces):
    """With the shortcut that HNSW takes for faces that are far below the threshold."""
    found = index.search(faces, THRESHOLD - index_module.EXACT_BELOW_THRESHOLD)
    return [
        (match.name, match.reason, match.why if match.name else "")
        for match in (decide(one, THRESHOLD, MARGIN) for one in found)
    ]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(galleries(), st.sampled_from(["fp16", "hnsw"]), st.integers(0, 2**32 - 1))
def test_people_who_come_and_go_are_found_and_not_found(gallery, kind, seed):
    rows, people, faces = gallery
    rng = np.random.default_rng(seed)
    photos = np.array([f"{number}.jpg" for number in range(len(rows))])
    people = np.array(people)
    index = build(kind, rows[::2], people[::2].tolist(), photos=photos[::2].tolist())
    half = index._half
    for _ in range(4):
        kept = np.flatnonzero(rng.random(len(rows)) < rng.choice([0.1, 0.5, 0.9, 1.0]))
        if not len(kept):
            continue
        changed = rows.copy()
        changed[kept[0]] = unit(rng.normal(size=SIZE))  # another picture under the same name
        now = (changed[kept], people[kept].tolist(), None, photos[kept].tolist())
        index = PersonIndex(now[0], now[1], now[3], kind=kind, before=index)
        assert index._half.codes is half.codes  # nothing was made again
        assert repr(index.search(faces)) == repr(build("flat", now[0], now[1], photos=now[3]).search(faces))


def test_a_person_with_more_photos_than_are_fetched_hides_nobody():
    rng = np.random.default_rng(4)
    ann = unit(np.eye(1, SIZE) + 0.02 * rng.normal(size=(3000, SIZE)))
    others = unit(rng.normal(size=(5, SIZE)))
    rows, people = np.concatenate([ann, others]), ["Ann"] * 3000 + list("BCDEF")
    for kind in ("flat", "fp16", "hnsw"):
        (found,) = build(kind, rows, people).search(ann[:1], 0.99)
        assert found.person == "Ann"
        assert len(found.nearest) == 3
        assert repr(found) == repr(build("flat", rows, people).search(ann[:1])[0])


def test_people_whose_similarity_only_full_precision_tells_apart():
    """Half precision has steps of 0.0005 here: thousands of rows round to the same code."""
    rng = np.random.default_rng(5)
    face = np.zeros(SIZE, np.float32)
    face[0] = 1
    rows = np.zeros((4000, SIZE), np.float32)
    rows[:, 0] = 0.8 + rng.permutation(4000) * 1e-8
    rows[:, 1] = 0.6
    people = [f"p{number}" for number in range(4000)]
    (expected,) = build("flat", rows, people).search(face[None])
    assert expected.photo == f"{int(rows[:, 0].argmax())}.jpg"
    for kind in ("fp16", "hnsw"):
        assert build(kind, rows, people).search(face[None]) == [expected]


def test_rows_that_the_graph_does_not_lead_to_are_compared_all_the_same():
    """In a crowd of copies, all links of a row lead to its copies: a graph alone loses what lies behind it."""
    rng = np.random.default_rng(6)
    rows = unit(np.concatenate([np.repeat(rng.normal(size=(30, SIZE)), 100, axis=0), rng.normal(size=(600, SIZE))]))
    rows = rows[rng.permutation(len(rows))]
    names = [f"p{number}" for number in range(len(rows))]
    index = build("hnsw", rows, names)
    assert len(index._half.added_rows) > 0
    found = index._half.walk(rows, 64)
    best = [(rows[one[one >= 0]] @ row).max() for one, row in zip(found.rows, rows)]
    assert best == pytest.approx([1.0] * len(rows), abs=1e-6)


def test_what_the_graph_misses_is_missed_by_settled_faces_only(monkeypatch):
    """Everybody else is compared with everybody."""
    monkeypatch.setattr(nearest_rows, "LINKS", 2)
    monkeypatch.setattr(nearest_rows, "BUILD_BREADTH", 2)
    monkeypatch.setattr(nearest_rows, "SEARCH_BREADTH", 1)
    monkeypatch.setattr(index_module, "FIRST_DEPTH", 3)
    rng = np.random.default_rng(9)
    rows = unit(rng.normal(size=(4000, SIZE)))
    faces = unit(rows[:400] + 0.12 * rng.normal(size=(400, SIZE)))
    names = [f"p{number}" for number in range(len(rows))]
    index, flat = build("hnsw", rows, names), build("flat", rows, names)
    expected = flat.identify(faces, 0.9, MARGIN)
    assert sum(match.name is not None for match in expected) > 100
    assert index.identify(faces, 0.9, MARGIN) == expected
    settled = np.arange(400) % 2 == 0
    pairs = [slice(row, row + 2) for row in range(0, 400, 2)]
    found = [match for pair in pairs for match in index.identify(faces[pair], 0.9, MARGIN, settled[pair])]
    assert [found[row] for row in range(1, 400, 2)] == expected[1::2]
    missed = [row for row in range(400) if found[row].name != expected[row].name]
    assert missed and all(settled[row] and found[row].name is None for row in missed)


def test_a_graph_that_leads_to_few_rows_is_kept(monkeypatch):
    monkeypatch.setattr(nearest_rows, "FEW_CHANGES", 3)
    rng = np.random.default_rng(6)
    rows = unit(np.concatenate([np.repeat(rng.normal(size=(30, SIZE)), 100, axis=0), rng.normal(size=(600, SIZE))]))
    names = [f"p{number}" for number in range(len(rows))]
    index = build("hnsw", rows, names, photos=names)
    assert index.unreachable > 3 + nearest_rows.FEW_CHANGES_SHARE * len(rows)
    assert not index.is_unfinished
    fewer = PersonIndex(rows[2:], names[2:], names[2:], kind="hnsw", before=index)
    assert not fewer.is_unfinished
    assert PersonIndex(rows[:-500], names[:-500], names[:-500], kind="hnsw", before=index).is_unfinished


def test_a_graph_is_made_when_it_is_asked_for_and_again_after_many_changes(monkeypatch):
    monkeypatch.setattr(nearest_rows, "FEW_CHANGES", 3)
    rows = unit(np.random.default_rng(7).normal(size=(200, SIZE)))
    names = [f"{number}.jpg" for number in range(200)]
    index = PersonIndex(rows[:150], names[:150], names[:150], kind="hnsw")
    assert index.is_unfinished
    assert index.search(rows[:1])[0].person == "0.jpg"
    stopped = index.finished(lambda: False)
    assert stopped.is_unfinished and stopped.search(rows[:1])[0].person == "0.jpg"
    index = index.finished()
    assert not index.is_unfinished
    few = PersonIndex(rows[:155], names[:155], names[:155], kind="hnsw", before=index)
    assert not few.is_unfinished
    many = PersonIndex(rows, names, names, kind="hnsw", before=few)
    assert many.is_unfinished and many.search(rows[199:])[0].person == "199.jpg"
    assert isinstance(many._half, HalfRows) and len(many._half.added_rows) == 50


@pytest.mark.parametrize("kind", ["flat", "fp16", "hnsw"])
def test_rows_that_are_no_numbers_resemble_nobody(kind):
    rows = np.full((3, SIZE), np.nan, np.float32)
    (found,) = build(kind, rows, ["a", "b", "c"]).search(unit(np.ones((1, SIZE))), 0.5)
    assert found.person is None and found.nearest == ()


def test_an_index_of_other_embeddings_is_not_taken_over():
    rows = unit(np.random.default_rng(8).normal(size=(20, SIZE)))
    names = [f"{number}.jpg" for number in range(20)]
    before = build("fp16", rows[:, :8], names)
    index = build("fp16", rows, names, before=before)
    assert index.search(rows[3:4])[0].person == "3.jpg"


def test_the_setting_wins_over_the_number_of_photos():
    chosen = [chosen_kind("auto", photos) for photos in (1000, 100_000, 1_000_000)]
    assert chosen == [IndexKind.FLAT, IndexKind.FP16, IndexKind.FP16]
    for kind in IndexKind:
        assert chosen_kind(kind.value, 1) is kind
