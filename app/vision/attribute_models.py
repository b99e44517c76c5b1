"""Models that predict more about a face than who it is: gender, age, mask, liveness, 106 landmarks, head pose."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np

from app.inference.engine import Engine
from app.types import FaceAttributes, Faces, Gender, HeadPose
from app.vision.align import align_faces, cut_squares, cut_surroundings, square_transforms
from app.vision.face_network import FaceNetwork
from app.vision.head_pose import head_poses
from app.vision.preprocessing import FaceInput
from app.vision.quality import face_sizes_px

MIN_MASK_PROBABILITY = 0.89
"""From which probability on a mask counts as worn, if a mask model predicts it. High, since a track's faces are
predicted again soon."""

MIN_DETECTED_MASK_PROBABILITY = 0.2
"""The same for a detector that predicts masks: the value of InsightFace's own example for mnet_cov2."""


class GenderAgeModel(FaceNetwork):
    """Gender and age, from three outputs (two scores and age / 100) or 202 (two scores and, for each of a hundred
    ages, the two scores of "younger" and "older than this")."""

    def __init__(self, engine: Engine, face_input: FaceInput) -> None:
        super().__init__(engine, face_input.preprocessing, face_input.crop, "a network for gender and age", (3, 202))
        self._enlarge = face_input.enlarge

    def predict(self, image: np.ndarray, faces: Faces) -> List[Tuple[Gender, float, float]]:
        """Gender, its probability, and age in years of each face."""
        if self._enlarge:
            crops = cut_squares(image, faces.boxes, self._enlarge, self.crop_size)
        else:
            crops = align_faces(image, faces.landmarks, self.crop_size)
        values = self.answers(crops)
        if values.shape[1] == 3:
            ages = values[:, 2] * 100
        else:
            ages = values[:, 2:].reshape(-1, 100, 2).argmax(axis=2).sum(axis=1)
        male = 1 / (1 + np.exp(np.clip(values[:, 0] - values[:, 1], -50, 50)))
        return [
            (Gender.MALE, share, age) if share > 0.5 else (Gender.FEMALE, 1 - share, age)
            for share, age in zip(male.tolist(), ages.tolist())
        ]


class MaskModel(FaceNetwork):
    """Whether a mask is worn: two probabilities, with and without."""

    def __init__(self, engine: Engine, face_input: FaceInput) -> None:
        super().__init__(engine, face_input.preprocessing, face_input.crop, "a network for masks", (2,))

    def predict(self, image: np.ndarray, faces: Faces) -> List[Tuple[float, float]]:
        """The probabilities of mask and no mask, of each face."""
        values = self.answers(align_faces(image, faces.landmarks, self.crop_size))
        return [(float(mask), float(no_mask)) for mask, no_mask in values]


class AntispoofModel(FaceNetwork):
    """Whether the face is live or a picture held up to the camera: MiniFASNet, from the face's surroundings."""

    LIVE = 1
    """The class of live faces; the other two are kinds of attacks."""

    def __init__(self, engine: Engine, face_input: FaceInput) -> None:
        super().__init__(engine, face_input.preprocessing, face_input.crop, "a network for anti-spoofing", (3,))
        self._enlarge = face_input.enlarge

    def predict(self, image: np.ndarray, faces: Faces) -> List[float]:
        """The probability that each face is live."""
        values = self.answers(cut_surroundings(image, faces.boxes, self._enlarge, self.crop_size))
        powers = np.exp(values - values.max(axis=1, keepdims=True))
        return [float(share) for share in powers[:, self.LIVE] / powers.sum(axis=1)]


class Landmarks106Model(FaceNetwork):
    """106 points along face, brows, eyes, nose and mouth; the network's coordinates go from -1 to 1 across the crop."""

    def __init__(self, engine: Engine, face_input: FaceInput) -> None:
        super().__init__(engine, face_input.preprocessing, face_input.crop, "a network for 106 landmarks", (212,))
        self._enlarge = face_input.enlarge

    def predict(self, image: np.ndarray, faces: Faces) -> np.ndarray:
        """N x 106 x 2, in the image's own pixels."""
        values = self.answers(cut_squares(image, faces.boxes, self._enlarge, self.crop_size))
        in_crop = (values.reshape(-1, 106, 2) + 1) * (np.asarray(self.crop_size) / 2)
        transforms = square_transforms(faces.boxes, self._enlarge, self.crop_size)
        shifts, scales = transforms[:, None, :, 2], transforms[:, None, [0, 1], [0, 1]]
        return np.asarray((in_crop - shifts) / scales, dtype=np.float32)


@dataclass(frozen=True)
class AttributeModels:
    """The attribute models in use, which this object owns; None where one is not wanted.

    Masks come from the mask model, or else from a detector that predicts them.
    """

    gender_age: Optional[GenderAgeModel]
    mask: Optional[MaskModel]
    antispoof: Optional[AntispoofModel]
    landmarks106: Optional[Landmarks106Model]
    head_pose: bool
    min_face_px: float
    """Smaller faces get no landmarks and no pose."""

    def predict(
        self, image: np.ndarray, faces: Faces, rows: List[int], known: Sequence[FaceAttributes]
    ) -> List[FaceAttributes]:
        """The attributes of all faces, given what is `known` of each from earlier frames.

        Gender, age, mask and liveness are predicted for `rows` only, and kept for the others; landmarks and pose are
        always those of this image.
        """
        found = list(known)
        if rows:
            for row, attributes in zip(rows, self._lasting(image, faces[rows], [known[row] for row in rows])):
                found[row] = attributes
        found = [dataclasses.replace(attributes, pose=None, landmarks106=None) for attributes in found]
        large = np.flatnonzero(face_sizes_px(faces) >= self.min_face_px).tolist()
        if self.head_pose:
            for row, angles in zip(large, head_poses(faces.landmarks[large]).tolist()):
                found[row] = dataclasses.replace(found[row], pose=HeadPose(*angles))
        if self.landmarks106 is not None and large:
            for row, points in zip(large, self.landmarks106.predict(image, faces[large])):
                found[row] = dataclasses.replace(found[row], landmarks106=points)
        return found

    @property
    def networks(self) -> Dict[str, FaceNetwork]:
        """Those in use, by family."""
        families: Dict[str, Optional[FaceNetwork]] = {
            "gender_age": self.gender_age,
            "mask": self.mask,
            "antispoof": self.antispoof,
            "landmarks106": self.landmarks106,
        }
        return {family: network for family, network in families.items() if network is not None}

    def close(self) -> None:
        for network in self.networks.values():
            network.close()

    def _lasting(self, image: np.ndarray, faces: Faces, known: Sequence[FaceAttributes]) -> List[FaceAttributes]:
        """What stays the same for as long as a face is tracked."""
        found = list(known)
        if self.gender_age is not None:
            for row, (gender, probability, age) in enumerate(self.gender_age.predict(image, faces)):
                found[row] = dataclasses.replace(
                    found[row], gender=gender, gender_probability=probability, age=float(age)
                )
        if self.mask is not None:
            for row, (mask, no_mask) in enumerate(self.mask.predict(image, faces)):
                worn = mask > no_mask and mask >= MIN_MASK_PROBABILITY
                found[row] = dataclasses.replace(
                    found[row], mask=worn, mask_probability=mask, no_mask_probability=no_mask
                )
        elif faces.mask_probabilities is not None:
            for row, mask in enumerate(faces.mask_probabilities.tolist()):
                worn = mask >= MIN_DETECTED_MASK_PROBABILITY
                found[row] = dataclasses.replace(found[row], mask=worn, mask_probability=mask)
        if self.antispoof is not None:
            for row, live in enumerate(self.antispoof.predict(image, faces)):
                found[row] = dataclasses.replace(found[row], live_probability=live)
        return found
