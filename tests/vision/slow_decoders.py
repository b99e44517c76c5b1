"""The outputs of each family in plain Python, cell by cell: to decode faces and to plant them.

A family's answers are kept here as `Answers`: by role and stride, rows x columns x anchors x values, which is none of
the layouts that networks have. `app` reads the layouts, these loops read the answers.
"""

import math

import numpy as np

STRIDES = {
    "retinaface": (8, 16, 32),
    "retinaface_mxnet": (8, 16, 32),
    "scrfd": (8, 16, 32),
    "yunet": (8, 16, 32),
    "centerface": (4,),
    "dsfd": (4, 8, 16, 32, 64, 128),
}
ANCHORS = {"retinaface": 2, "retinaface_mxnet": 2, "scrfd": 2, "yunet": 1, "centerface": 1, "dsfd": 1}
ROLES = {
    "retinaface": {"loc": 4, "conf": 1, "landms": 10},
    "retinaface_mxnet": {"score": 1, "box": 4, "landmarks": 10, "mask": 3},
    "scrfd": {"score": 1, "box": 4, "landmarks": 10},
    "yunet": {"score": 1, "objectness": 1, "box": 4, "landmarks": 10},
    "centerface": {"score": 1, "scale": 2, "offset": 2, "landmarks": 10},
    "dsfd": {"score": 1, "box": 4},
}
MIN_SIZES = {8: (16, 32), 16: (64, 128), 32: (256, 512)}
MXNET_SCALES = {8: (2, 1), 16: (8, 4), 32: (32, 16)}


class Retinaface:
    """Anchors in the middle of the cells; variances 0.1 and 0.2."""

    def __init__(self, min_sizes=MIN_SIZES):
        self.min_sizes = min_sizes

    def read(self, at, stride, row, column, anchor):
        size = self.min_sizes[stride][anchor]
        cx, cy = (column + 0.5) * stride, (row + 0.5) * stride
        dx, dy, dw, dh = at("loc")
        width, height = size * math.exp(0.2 * dw), size * math.exp(0.2 * dh)
        x, y = cx + 0.1 * dx * size, cy + 0.1 * dy * size
        marks = at("landms")
        points = [(cx + 0.1 * marks[2 * i] * size, cy + 0.1 * marks[2 * i + 1] * size) for i in range(5)]
        return at("conf")[0], (x - width / 2, y - height / 2, x + width / 2, y + height / 2), points

    def plant(self, box, points, stride, row, column, anchor):
        size = self.min_sizes[stride][anchor]
        cx, cy = (column + 0.5) * stride, (row + 0.5) * stride
        x1, y1, x2, y2 = box
        loc = [((x1 + x2) / 2 - cx) / size / 0.1, ((y1 + y2) / 2 - cy) / size / 0.1]
        loc += [math.log((x2 - x1) / size) / 0.2, math.log((y2 - y1) / size) / 0.2]
        landms = [value for x, y in points for value in ((x - cx) / size / 0.1, (y - cy) / size / 0.1)]
        return {"loc": loc, "conf": [0.9], "landms": landms}


class RetinafaceMxnet:
    """Anchors from pixel 0 to pixel 15, enlarged; whole pixels counted, both ends belonging to the box."""

    def __init__(self, landmark_scale=1.0):
        self.landmark_scale = landmark_scale

    def anchor(self, stride, row, column, anchor):
        side = 16 * MXNET_SCALES[stride][anchor]
        x1 = 7.5 - 0.5 * (side - 1) + column * stride
        y1 = 7.5 - 0.5 * (side - 1) + row * stride
        x2, y2 = x1 + side - 1, y1 + side - 1
        width, height = x2 - x1 + 1, y2 - y1 + 1
        return x1 + 0.5 * (width - 1), y1 + 0.5 * (height - 1), width, height

    def read(self, at, stride, row, column, anchor):
        cx, cy, width, height = self.anchor(stride, row, column, anchor)
        dx, dy, dw, dh = at("box")
        x, y = dx * width + cx, dy * height + cy
        w, h = math.exp(dw) * width, math.exp(dh) * height
        box = (x - 0.5 * (w - 1), y - 0.5 * (h - 1), x + 0.5 * (w - 1), y + 0.5 * (h - 1))
        marks = [value * self.landmark_scale for value in at("landmarks")]
        points = [(marks[2 * i] * width + cx, marks[2 * i + 1] * height + cy) for i in range(5)]
        return at("score")[0], box, points

    def plant(self, box, points, stride, row, column, anchor):
        cx, cy, width, height = self.anchor(stride, row, column, anchor)
        x1, y1, x2, y2 = box
        deltas = [((x1 + x2) / 2 - cx) / width, ((y1 + y2) / 2 - cy) / height]
        deltas += [math.log((x2 - x1 + 1) / width), math.log((y2 - y1 + 1) / height)]
        marks = [value for x, y in points for value in ((x - cx) / width, (y - cy) / height)]
        return {"score": [0.9], "box": deltas, "landmarks": [value / self.landmark_scale for value in marks]}


class Scrfd:
    """Distances in strides from the cell's upper left corner."""

    def read(self, at, stride, row, column, anchor):
        x, y = column * stride, row * stride
        left, top, right, bottom = (value * stride for value in at("box"))
        marks = at("landmarks")
        points = [(x + marks[2 * i] * stride, y + marks[2 * i + 1] * stride) for i in range(5)]
        return at("score")[0], (x - left, y - top, x + right, y + bottom), points

    def plant(self, box, points, stride, row, column, anchor):
        x, y = column * stride, row * stride
        distances = [x - box[0], y - box[1], box[2] - x, box[3] - y]
        marks = [value for px, py in points for value in (px - x, py - y)]
        return {"score": [0.9], "box": [d / stride for d in distances], "landmarks": [m / stride for m in marks]}


class Yunet:
    """Centre and logarithm of the size, in strides; two scores whose geometric mean counts."""

    def read(self, at, stride, row, column, anchor):
        face, thing = (min(max(at(role)[0], 0.0), 1.0) for role in ("score", "objectness"))
        dx, dy, dw, dh = at("box")
        x, y = (column + dx) * stride, (row + dy) * stride
        width, height = math.exp(dw) * stride, math.exp(dh) * stride
        marks = at("landmarks")
        points = [((column + marks[2 * i]) * stride, (row + marks[2 * i + 1]) * stride) for i in range(5)]
        return math.sqrt(face * thing), (x - width / 2, y - height / 2, x + width / 2, y + height / 2), points

    def plant(self, box, points, stride, row, column, anchor):
        x1, y1, x2, y2 = box
        answers = [(x1 + x2) / 2 / stride - column, (y1 + y2) / 2 / stride - row]
        answers += [math.log((x2 - x1) / stride), math.log((y2 - y1) / stride)]
        marks = [value for x, y in points for value in (x / stride - column, y / stride - row)]
        return {"score": [1.2], "objectness": [0.81], "box": answers, "landmarks": marks}


class Centerface:
    """Vertical before horizontal, everywhere; landmarks as fractions of the box."""

    def read(self, at, stride, row, column, anchor):
        height, width = (math.exp(value) * 4 for value in at("scale"))
        down, right = at("offset")
        x1 = (column + right + 0.5) * 4 - width / 2
        y1 = (row + down + 0.5) * 4 - height / 2
        marks = at("landmarks")
        points = [(x1 + marks[2 * i + 1] * width, y1 + marks[2 * i] * height) for i in range(5)]
        return at("score")[0], (x1, y1, x1 + width, y1 + height), points

    def plant(self, box, points, stride, row, column, anchor):
        x1, y1, x2, y2 = box
        width, height = x2 - x1, y2 - y1
        offset = [(y1 + y2) / 8 - row - 0.5, (x1 + x2) / 8 - column - 0.5]
        marks = [value for x, y in points for value in ((y - y1) / height, (x - x1) / width)]
        scale = [math.log(height / 4), math.log(width / 4)]
        return {"score": [0.9], "scale": scale, "offset": offset, "landmarks": marks}


class Dsfd:
    """One upright anchor a cell, at most as large as the picture; variances 0.1 and 0.2; no landmarks of its own."""

    def __init__(self, picture):
        self.picture = picture
        """Width and height."""

    def anchor(self, stride, row, column):
        width = min(4 * stride / math.sqrt(1.5), self.picture[0])
        height = min(4 * stride * math.sqrt(1.5), self.picture[1])
        cx, cy = min((column + 0.5) * stride, self.picture[0]), min((row + 0.5) * stride, self.picture[1])
        return cx, cy, width, height

    def read(self, at, stride, row, column, anchor):
        cx, cy, width, height = self.anchor(stride, row, column)
        dx, dy, dw, dh = at("box")
        x, y = cx + 0.1 * dx * width, cy + 0.1 * dy * height
        w, h = width * math.exp(0.2 * dw), height * math.exp(0.2 * dh)
        usual = ((0.28, 0.39), (0.72, 0.39), (0.5, 0.57), (0.32, 0.74), (0.68, 0.74))
        points = [(x - w / 2 + px * w, y - h / 2 + py * h) for px, py in usual]
        return at("score")[0], (x - w / 2, y - h / 2, x + w / 2, y + h / 2), points

    def plant(self, box, points, stride, row, column, anchor):
        cx, cy, width, height = self.anchor(stride, row, column)
        x1, y1, x2, y2 = box
        place = [((x1 + x2) / 2 - cx) / width / 0.1, ((y1 + y2) / 2 - cy) / height / 0.1]
        size = [math.log((x2 - x1) / width) / 0.2, math.log((y2 - y1) / height) / 0.2]
        return {"score": [0.9], "box": place + size}


def empty_answers(family, size, random):
    """Answers to a picture of this size that has no face: noise, with scores too low to count."""
    width, height = size
    answers = {}
    for stride in STRIDES[family]:
        cells = (math.ceil(height / stride), math.ceil(width / stride), ANCHORS[family])
        for role, values in ROLES[family].items():
            noise = random.normal(0, 1, (*cells, values)).astype(np.float32)
            answers[role, stride] = noise if values > 1 else random.uniform(0, 0.3, (*cells, 1)).astype(np.float32)
    return answers


def plant_faces(family, meaning, answers, faces):
    """Writes each face (box, points, stride, anchor) into the cell that contains its centre."""
    for box, points, stride, anchor in faces:
        row, column = int((box[1] + box[3]) / 2 / stride), int((box[0] + box[2]) / 2 / stride)
        for role, values in meaning.plant(box, points, stride, row, column, anchor).items():
            answers[role, stride][row, column, min(anchor, ANCHORS[family] - 1)] = values


def read_all(family, meaning, answers, min_score):
    """Every row whose score suffices: score, box, points; in the order stride, row, column, anchor."""
    found = []
    for stride in STRIDES[family]:
        rows, columns, anchors, _ = next(iter(answers[role, stride].shape for role in ROLES[family]))
        for row in range(rows):
            for column in range(columns):
                for anchor in range(anchors):

                    def at(role, stride=stride, place=(row, column, anchor)):
                        return [float(value) for value in answers[role, stride][place]]

                    answer = meaning.read(at, stride, row, column, anchor)
                    if answer[0] >= min_score:
                        found.append(answer)
    return found
