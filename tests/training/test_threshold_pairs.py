"""Pairs for choosing a threshold."""

from __future__ import annotations

from pathlib import Path

from training.pairs import PAIRS_A_PERSON, draw_pairs, photos_by_person


def test_pairs_are_labelled_correctly_and_unique(tmp_path: Path) -> None:
    for person, count in (("Ann", 9), ("Bo", 2), ("Cy", 1)):
        (tmp_path / person).mkdir()
        for number in range(count):
            (tmp_path / person / f"{person}_{number}.jpg").touch()
    photos = photos_by_person(tmp_path)
    pairs = draw_pairs(photos, strangers=12, seed=1)
    for a, b, same in pairs:
        assert a != b and (a.split("_")[0] == b.split("_")[0]) == bool(same)
    assert len({(a, b) for a, b, _ in pairs}) == len(pairs)
    assert sum(same for _, _, same in pairs) == PAIRS_A_PERSON + 1
    assert len(pairs) == PAIRS_A_PERSON + 1 + 12
    assert pairs == draw_pairs(photos, strangers=12, seed=1) != draw_pairs(photos, strangers=12, seed=2)
