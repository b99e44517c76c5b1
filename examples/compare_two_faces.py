"""Compare the faces in two pictures.

python examples/compare_two_faces.py ann.jpg visitor.jpg
"""

import sys

from app import Recognizer, read_picture

if len(sys.argv) != 3:
    sys.exit(__doc__)


def embedding(recognizer, path):
    image = read_picture(path)
    (faces,) = recognizer.find([image])
    if not len(faces):
        sys.exit(f"{path}: no face found")
    return recognizer.embed(image, faces[0]).embeddings[0]  # faces are sorted by score, best first


with Recognizer.from_settings() as recognizer:
    similarity = float(embedding(recognizer, sys.argv[1]) @ embedding(recognizer, sys.argv[2]))
    same = similarity >= recognizer.threshold
print(f"similarity {similarity:.2f}: {'the same person' if same else 'different people'}")
