"""Running a network block by block, so that a teacher can lead it through its feature maps."""

from __future__ import annotations

from typing import List, Sequence

from torch import Tensor, nn


def run_in_sections(blocks: Sequence[nn.Module], inputs: Tensor, given: Sequence[Tensor], joined: int) -> List[Tensor]:
    """The feature map after each block.

    Where `given` holds a teacher's maps, each section of `joined` blocks begins with the teacher's map instead of its
    own predecessor's: all sections then learn at once, none waits for those before it.
    """
    maps: List[Tensor] = []
    present = inputs
    for number, block in enumerate(blocks):
        maps.append(block(present))
        present = given[number] if given and (number + 1) % joined == 0 else maps[-1]
    return maps
