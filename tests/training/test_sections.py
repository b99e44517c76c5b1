"""Blocks that are trained on the teacher's feature maps."""

from __future__ import annotations

import copy
from typing import List

import pytest

torch = pytest.importorskip("torch")

from training.networks import mobilefacenet, retinaface, scrfd  # noqa: E402
from training.networks.sections import run_in_sections  # noqa: E402


class OneMore(torch.nn.Module):  # type: ignore[misc, name-defined]
    def forward(self, number: torch.Tensor) -> torch.Tensor:
        return number + 1


@pytest.mark.parametrize(
    ("joined", "expected"),
    [(1, [1, 11, 21, 31, 41]), (2, [1, 2, 21, 22, 41]), (4, [1, 2, 3, 4, 41]), (5, [1, 2, 3, 4, 5])],
)
def test_a_section_begins_with_the_teachers_map(joined: int, expected: List[int]) -> None:
    given = [torch.tensor(10 * number) for number in range(1, 6)]
    maps = run_in_sections([OneMore()] * 5, torch.tensor(0), given, joined)
    assert [int(number) for number in maps] == expected


def test_without_a_teacher_each_block_feeds_the_next() -> None:
    maps = run_in_sections([OneMore()] * 5, torch.tensor(0), (), 0)
    assert [int(number) for number in maps] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("joined", [1, 4])
@pytest.mark.parametrize(
    ("teacher", "side"),
    [(mobilefacenet.MobileFaceNet(), 112), (retinaface.RetinaFace(), 64), (scrfd.SCRFD(), 64)],
    ids=["embedder", "detector", "scrfd"],
)
def test_an_error_in_one_section_does_not_reach_the_next(teacher: torch.nn.Module, side: int, joined: int) -> None:
    """The first block is broken; the second section and everything after it do not change."""
    student = copy.deepcopy(teacher.eval())
    first = next(module for module in student.modules() if isinstance(module, torch.nn.Conv2d))
    torch.nn.init.zeros_(first.weight)
    images = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        goal, goal_maps = teacher.stages(images)
        answer, maps = student.stages(images, goal_maps, joined)
    assert len(maps) == len(goal_maps)
    assert [torch.equal(ours, theirs) for ours, theirs in zip(maps, goal_maps)] == [
        number >= joined for number in range(len(maps))
    ]
    torch.testing.assert_close(answer, goal, rtol=0, atol=0)
