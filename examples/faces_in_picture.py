"""Find the faces in a picture, with their landmarks.

python examples/faces_in_picture.py group.jpg
"""

import sys

from app import Recognizer, read_picture

if len(sys.argv) != 2:
    sys.exit(__doc__)

POINTS = ("left eye", "right eye", "nose", "left mouth corner", "right mouth corner")

image = read_picture(sys.argv[1])
with Recognizer.from_settings() as recognizer:
    (faces,) = recognizer.find([image])

for box, score, landmarks in zip(faces.boxes, faces.scores, faces.landmarks):
    print("face at", box.round().astype(int).tolist(), f"score {score:.2f}")
    for name, (x, y) in zip(POINTS, landmarks):
        print(f"  {name}: {x:.0f}, {y:.0f}")
print(f"faces: {len(faces)}")
