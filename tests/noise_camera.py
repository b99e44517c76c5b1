"""A camera whose frames do not compress, and the video that they become."""

import numpy as np
from made_results import frame, result

from app.output.annotate import Annotator
from app.output.video import VideoOutput


class NoiseCamera:
    """`now` is the clock of the video; each frame takes 0.04 s."""

    def __init__(self, path):
        self.video = VideoOutput(path, Annotator(), clock=lambda: self.now)
        self.now = 0.0
        self.frames = 0
        self.noise = np.random.default_rng(0).integers(0, 255, (180, 320, 3), dtype=np.uint8)

    def show(self, count):
        for _ in range(count):
            self.now += 0.04
            image = np.roll(self.noise, self.frames, axis=1)
            self.video.handle(result(frame(self.frames, position=self.frames / 25, image=image)))
            self.frames += 1
