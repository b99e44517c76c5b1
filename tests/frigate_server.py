"""A web server with the parts of Frigate's HTTP API that the program uses, and the messages that Frigate sends.

Both follow Frigate's documentation and its request models; Frigate itself does not run here.
"""

import json
import re

import cv2
from quiet_http import Handler, QuietServer

WIDTH, HEIGHT = 1280, 720
"""In which all cameras are watched."""


class FrigateServer:
    def __init__(self, port=0, user=None):
        """`user`: name and password that a login needs."""
        self.pictures = {}
        """What is stored or tracked, by id: JPEG bytes."""
        self.asked = []
        """Ids in the order in which snapshots were asked for."""
        self.sub_labels = []
        """(id, name, score) of those that were set."""
        self.refused = []
        self.logins = 0
        self.unknown_for = 0
        """How many requests for a sub label are answered with 404 first."""
        self.token = "first"
        self.config = {"cameras": {name: {"detect": {"width": WIDTH, "height": HEIGHT}} for name in ("door", "yard")}}
        self.user = user
        outer = self

        class Api(Handler):
            def do_GET(self):
                outer.get(self)

            def do_POST(self):
                outer.post(self)

        self._server = QuietServer(Api, port=port)
        self.port = self._server.port
        self.url = self._server.address

    def get(self, request):
        if self.refuses(request):
            return
        if request.path == "/api/config":
            request.reply(200, json.dumps(self.config).encode(), Content_Type="application/json")
            return
        found = re.fullmatch(r"/api/events/([^/]+)/snapshot\.jpg\?(.*)", request.path)
        if not found:
            request.reply(404)
            return
        assert found[2] == "crop=0&bbox=0&timestamp=0&quality=95"
        self.asked.append(found[1])
        picture = self.pictures.get(found[1])
        request.reply(*((404,) if picture is None else (200, picture)), Content_Type="image/jpeg")

    def post(self, request):
        body = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        if request.path == "/api/login":
            self.logins += 1
            if (body["user"], body["password"]) != self.user:
                request.reply(401)
                return
            request.reply(200, Set_Cookie=f"frigate_token={self.token}; HttpOnly; Path=/")
            return
        if self.refuses(request):
            return
        identity = re.fullmatch(r"/api/events/([^/]+)/sub_label", request.path)[1]
        if self.unknown_for:
            self.unknown_for -= 1
            request.reply(404)
            return
        name, score = body["subLabel"], body.get("subLabelScore")
        if len(name) > 100 or not (score is None or 0 < score <= 1):
            self.refused.append(body)
            request.reply(422)
            return
        self.sub_labels.append((identity, name, score))
        request.reply(200)

    def refuses(self, request):
        if self.user is None or request.headers["Cookie"] == f"frigate_token={self.token}":
            return False
        request.reply(401)
        return True

    def names(self, identity):
        return [name for at, name, _ in self.sub_labels if at == identity]

    def close(self):
        self._server.close()


def jpeg(picture):
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def message(kind, identity, moment, box, camera="door", **changes):
    """What Frigate publishes about an object, with all fields that its documentation shows."""
    x1, y1, x2, y2 = box
    after = {
        "id": identity,
        "camera": camera,
        "frame_time": moment + 0.4,
        "snapshot": {
            "frame_time": moment,
            "box": list(box),
            "area": (x2 - x1) * (y2 - y1),
            "region": [0, 0, 720, 720],
            "score": 0.77546,
            "attributes": [],
        },
        "label": "person",
        "sub_label": None,
        "top_score": 0.958984375,
        "false_positive": False,
        "start_time": 1607123955.475377,
        "end_time": moment + 1 if kind == "end" else None,
        "score": 0.7890625,
        "box": list(box),
        "area": (x2 - x1) * (y2 - y1),
        "ratio": 0.89,
        "region": [0, 0, 720, 720],
        "current_zones": [],
        "entered_zones": ["yard"],
        "thumbnail": None,
        "has_snapshot": True,
        "has_clip": False,
        "active": True,
        "stationary": False,
        "motionless_count": 0,
        "position_changes": 2,
        "attributes": {},
        "current_attributes": [],
        **changes,
    }
    return json.dumps({"type": kind, "before": after, "after": after})
