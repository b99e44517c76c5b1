"""Name the people in a picture with a server that runs: python -m app serve

python examples/identify_over_http.py http://127.0.0.1:8080 door.jpg
"""

import sys

from app.client import FaceClient

address, picture = sys.argv[1:] if len(sys.argv) == 3 else sys.exit(__doc__)
with FaceClient(address) as client:
    for face in client.identify(picture):
        print(face["name"] or "unknown", face["why"])
