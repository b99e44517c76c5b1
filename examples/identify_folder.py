"""Name the faces in all pictures of a folder, one line per face.

python examples/identify_folder.py gallery/ pictures/
"""

import sys

from app import Gallery, Recognizer, open_source

gallery_folder, pictures = sys.argv[1:] if len(sys.argv) == 3 else sys.exit(__doc__)
with Recognizer.from_settings() as recognizer, Gallery.open(gallery_folder, recognizer) as gallery:
    people = gallery.index
    with open_source(f"images:{pictures}") as frames:
        for frame in frames:
            (faces,) = recognizer.find([frame.image])
            faces = recognizer.embed(frame.image, faces)
            for box, match in zip(faces.boxes, recognizer.identify(faces, people)):
                print(frame.file, box.round().astype(int).tolist(), match.name or "unknown", f"{match.similarity:.2f}")
