"""UTKFace's labels, and which portraits are held out."""

from __future__ import annotations

import numpy as np

from training.portraits import SIDES, choose_sides, read_name, side_of


def test_labels_are_in_the_name() -> None:
    assert read_name("faces_utk/26_1_2_20170116174525125.jpg.chip.jpg") == (26, 1, 2, "20170116174525125")
    assert read_name("faces_utk/39_1_20170116174525125.jpg.chip.jpg") is None


def test_a_tenth_is_held_out_for_each_purpose() -> None:
    sides = [side_of(f"{number}.jpg") for number in range(3000)]
    shares = np.bincount(sides, minlength=3) / len(sides)
    np.testing.assert_allclose(shares, (0.8, 0.1, 0.1), atol=0.02)
    assert sides == [side_of(f"{number}.jpg") for number in range(3000)]


def test_nothing_like_a_held_out_portrait_is_learned() -> None:
    rng = np.random.default_rng(0)
    names = [f"{number}.jpg" for number in range(400)]
    stamps = [str(number // 2) for number in range(400)]
    embeddings = rng.standard_normal((400, 32))
    embeddings[1::10] = embeddings[::10] + 0.1  # Look like the portrait before.
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    sides = choose_sides(names, embeddings, stamps)
    assert {SIDES[side] for side in sides} == set(SIDES)
    test, development = (sides == SIDES.index(side) for side in ("test", "development"))
    assert (test == [side_of(name) == SIDES.index("test") for name in names]).all()
    learned = sides == SIDES.index("train")
    for held_out, others in ((test, learned | development), (development, learned)):
        assert (embeddings[others] @ embeddings[held_out].T).max() <= 0.6
        assert not set(np.array(stamps)[others]) & set(np.array(stamps)[held_out])
