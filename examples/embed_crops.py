"""Embed faces that are already aligned and 112 x 112 pixels, all in one batch.

python examples/embed_crops.py crops/*.png
"""

import sys

import numpy as np

from app import Recognizer, read_picture

if len(sys.argv) < 2:
    sys.exit(__doc__)

crops = np.stack([read_picture(path) for path in sys.argv[1:]])  # N x 112 x 112 x 3, uint8, BGR
with Recognizer.from_settings() as recognizer:
    embeddings = recognizer.embed_crops(crops)  # N x D, unit length

print("embeddings", embeddings.shape)
print((embeddings @ embeddings.T).round(2))
