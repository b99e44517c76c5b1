"""What is told of faces besides who they are, by whichever networks were chosen for it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import List, Optional, Sequence

import numpy as np

from app.types import FaceAttributes, Faces, Gender, HeadPose
from app.vision.face_readers import GenderAge, Landmarks106, LivenessReader, MaskReader, wears_mask
from app.vision.head_pose import head_poses
from app.vision.quality import face_sizes_px

DETECTOR_MASK_FROM = 0.2
"""A mask that the detector itself tells counts as worn from this probability on, as in the example that InsightFace
published with mnet_cov2."""


@dataclass(frozen=True)
class AttributeReader:
    """The chosen networks; None for what nobody asked for. Owns them.

    Masks that the detector tells are taken from it, unless there is a network for them.
    """

    gender_age: Optional[GenderAge]
    mask: Optional[MaskReader]
    antispoof: Optional[LivenessReader]
    landmarks106: Optional[Landmarks106]
    head_pose: bool
    min_face_px: float
    """Smaller faces get no points and no pose."""

    def read(
        self, image: np.ndarray, faces: Faces, rows: List[int], before: Sequence[FaceAttributes]
    ) -> List[FaceAttributes]:
        """The attributes of all faces, which were `before` what was known of them.

        What stays the same for as long as a face is followed is asked for the faces of `rows` alone, those whose
        identity is looked at as well; points and pose are those of this very picture.
        """
        after = list(before)
        if rows:
            for row, lasting in zip(rows, self._lasting(image, faces[rows], [before[row] for row in rows])):
                after[row] = lasting
        return self._of_this_picture(image, faces, after)

    def close(self) -> None:
        for network in (self.gender_age, self.mask, self.antispoof, self.landmarks106):
            if network is not None:
                network.close()

    def _lasting(self, image: np.ndarray, faces: Faces, before: Sequence[FaceAttributes]) -> List[FaceAttributes]:
        after = list(before)
        if self.gender_age is not None:
            after = [_with_gender_age(old, *found) for old, found in zip(after, self.gender_age.read(image, faces))]
        if self.mask is not None:
            after = [_with_mask(old, *found) for old, found in zip(after, self.mask.read(image, faces))]
        elif faces.mask_probabilities is not None:
            after = [_with_detected_mask(old, found) for old, found in zip(after, faces.mask_probabilities.tolist())]
        if self.antispoof is not None:
            live = self.antispoof.read(image, faces)
            after = [dataclasses.replace(old, live_probability=found) for old, found in zip(after, live)]
        return after

    def _of_this_picture(
        self, image: np.ndarray, faces: Faces, before: Sequence[FaceAttributes]
    ) -> List[FaceAttributes]:
        after = [dataclasses.replace(old, pose=None, landmarks106=None) for old in before]
        large = np.flatnonzero(face_sizes_px(faces) >= self.min_face_px).tolist()
        if self.head_pose:
            for row, angles in zip(large, head_poses(faces.landmarks[large]).tolist()):
                after[row] = dataclasses.replace(after[row], pose=HeadPose(*angles))
        if self.landmarks106 is not None and large:
            for row, points in zip(large, self.landmarks106.read(image, faces[large])):
                after[row] = dataclasses.replace(after[row], landmarks106=points)
        return after


def _with_gender_age(attributes: FaceAttributes, gender: Gender, age: float) -> FaceAttributes:
    return dataclasses.replace(attributes, gender=gender, age=age)


def _with_mask(attributes: FaceAttributes, mask: float, no_mask: float) -> FaceAttributes:
    return dataclasses.replace(
        attributes, mask=wears_mask(mask, no_mask), mask_probability=mask, no_mask_probability=no_mask
    )


def _with_detected_mask(attributes: FaceAttributes, mask: float) -> FaceAttributes:
    return dataclasses.replace(attributes, mask=mask >= DETECTOR_MASK_FROM, mask_probability=mask)
