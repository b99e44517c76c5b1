"""A tiny folder in LFW's layout: four cuts each of the demo's three people."""

import cv2
import numpy as np
import pytest

NAMES = ("Eileen_Collins", "Grace_Hopper", "A_Stranger")


def _cuts(portrait):
    """The head and shoulders as they are, mirrored, turned, and smaller and darker."""
    height, width = portrait.image.shape[:2]
    x, y = int(portrait.face[0] * width), int(portrait.face[1] * height)
    half = int(0.22 * min(height, width))
    head = portrait.image[max(0, y - half) : y + half, max(0, x - half) : x + half]
    head = cv2.resize(head, (250, 250), interpolation=cv2.INTER_AREA)
    turned = cv2.warpAffine(
        head, cv2.getRotationMatrix2D((125, 125), 8, 1), (250, 250), borderMode=cv2.BORDER_REPLICATE
    )
    dark = cv2.convertScaleAbs(cv2.resize(head, (180, 180), interpolation=cv2.INTER_AREA), alpha=0.8)
    return head, np.ascontiguousarray(head[:, ::-1]), turned, dark


@pytest.fixture(scope="session")
def lfw_folder(tmp_path_factory, portraits):
    """PERSON/PERSON_0001.jpg to _0004.jpg, and `Nobody/Nobody_0001.jpg`, a picture without a face."""
    folder = tmp_path_factory.mktemp("lfw")
    for name, portrait in zip(NAMES, portraits):
        (folder / name).mkdir()
        for number, cut in enumerate(_cuts(portrait), 1):
            assert cv2.imwrite(str(folder / name / f"{name}_{number:04d}.jpg"), cut)
    (folder / "Nobody").mkdir()
    plain = np.full((200, 200, 3), 127, np.uint8)
    assert cv2.imwrite(str(folder / "Nobody" / "Nobody_0001.jpg"), plain)
    return folder
