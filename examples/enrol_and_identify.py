"""Enrol people from photos, then name the faces in other pictures.

python examples/enrol_and_identify.py photos-of-people/ Ann ann.jpg group.jpg
"""

import sys

from app import Gallery, Recognizer, read_picture

folder, name, photo, picture = sys.argv[1:] if len(sys.argv) == 5 else sys.exit(__doc__)
with Recognizer.from_settings() as recognizer, Gallery.open(folder, recognizer, create=True) as gallery:
    result = gallery.add(name, photo)  # Added or Refused
    print(f"{photo}: {type(result).__name__.lower()} ({result.reason})")

    image = read_picture(picture)
    (faces,) = recognizer.find([image])
    faces = recognizer.embed(image, faces)
    for box, match in zip(faces.boxes, recognizer.identify(faces, gallery.index)):
        where = box.round().astype(int).tolist()
        print(where, match.name or "unknown", f"{match.similarity:.2f}", match.reason, f"(nearest: {match.nearest})")
