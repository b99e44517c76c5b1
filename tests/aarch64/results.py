"""What the program finds in the same pictures, as JSON, for a comparison of two machines.

python tests/aarch64/results.py pictures FOLDER     makes the pictures and a gallery, on one machine
python tests/aarch64/results.py found FOLDER        prints what this machine finds in them
"""

import dataclasses
import hashlib
import json
import platform
import sys
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
INPUT_PX = 640
"""Longer pictures are shrunk for the detector; the large crowd is."""


def write_pictures(folder):
    """PNG, so that both machines see the same pixels; the gallery's photos are JPEG."""
    from app.tools.demo.portraits import crowd_picture, load_portraits, write_enrolment_photos

    portraits = load_portraits()
    write_enrolment_photos(folder / "gallery", portraits)
    turn = cv2.getRotationMatrix2D((320, 180), 8, 0.9)
    crowd = crowd_picture(portraits, 8)
    small = cv2.resize(crowd, (INPUT_PX, 360), interpolation=cv2.INTER_AREA)
    pictures = {
        "Eileen Collins": portraits[0].image,
        "Grace Hopper": portraits[1].image,
        "a stranger": portraits[2].image,
        "a crowd": small,
        "a crowd, darker and turned": cv2.convertScaleAbs(cv2.warpAffine(small, turn, (INPUT_PX, 360)), alpha=0.6),
        "a large crowd": crowd,
    }
    for name, picture in pictures.items():
        if not cv2.imwrite(str(folder / f"{name}.png"), picture):
            sys.exit(f"{folder} cannot be written")


def found(folder):
    from app import Gallery, Recognizer, Settings, read_picture
    from app.settings import ModelSettings

    # A fixed backend: `auto` would take OpenVINO on some machines.
    models = ModelSettings(catalog=ROOT / "engines" / "catalog.yaml", backend="onnx")
    settings = dataclasses.replace(Settings(), models=models)
    with Recognizer.from_settings(settings) as recognizer, Gallery.open(folder / "gallery", recognizer) as people:
        results = {
            path.stem: found_in(read_picture(path), recognizer, people.index) for path in sorted(folder.glob("*.png"))
        }
    return {"machine": platform.machine(), "pictures": results}


def found_in(picture, recognizer, index):
    (faces,) = recognizer.find([picture])
    faces = recognizer.embed(picture, faces)
    # From left to right: faces with almost the same score come in another order elsewhere.
    rows = np.lexsort(faces.boxes.round()[:, :2].T)
    matches = recognizer.identify(faces, index)
    return {
        "pixels": hashlib.sha256(np.ascontiguousarray(picture).tobytes()).hexdigest(),
        "faces": [
            {
                "name": matches[row].name,
                "reason": matches[row].reason.value,
                "nearest": matches[row].nearest,
                "photo": matches[row].photo,
                "similarity": float(matches[row].similarity),
                "runner_up_similarity": float(matches[row].runner_up_similarity),
                "score": float(faces.scores[row]),
                "box_px": faces.boxes[row].tolist(),
                "landmarks_px": faces.landmarks[row].ravel().tolist(),
                "embedding": faces.embeddings[row].tolist(),
            }
            for row in rows
        ],
    }


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("pictures", "found"):
        sys.exit(__doc__)
    sys.path.insert(0, str(ROOT))
    if sys.argv[1] == "pictures":
        write_pictures(Path(sys.argv[2]))
    else:
        sys.stdout.write(json.dumps(found(Path(sys.argv[2]))) + "\n")
