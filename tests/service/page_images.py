"""Makes the pictures of the page in docs/images again: .venv/bin/python tests/service/page_images.py

They show the page while a run reads the video of the demo, whose portraits are in the public domain.
"""

import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from browser import Tab, chromium  # noqa: E402
from watched_run import held_run  # noqa: E402

from app.settings import ModelSettings  # noqa: E402
from app.tools.demo.portraits import load_backdrops, load_portraits, write_enrolment_photos  # noqa: E402
from app.tools.demo.video import make_video  # noqa: E402

FOLDER = ROOT / "docs/images"
SIZE = {"width": 1000, "height": 720}
FRAMES_BEFORE, STEPS, FRAMES_PER_STEP, STEP_MS = 80, 29, 6, 240
"""The run goes on at the pace of a camera while the status is measured, to a picture with a person and a stranger."""
QUALITY = 85
WAIT_FOR = {
    "status": ".plot canvas >> nth=2",
    "live": ".face >> nth=1",
    "today": ".card:has-text('stranger-1') img",
    "strangers": ".seen > .photo img",
}


def main():
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        video, gallery, portraits = folder / "demo.mp4", folder / "gallery", load_portraits()
        make_video(video, portraits, load_backdrops())
        write_enrolment_photos(gallery, portraits)
        # So that somebody who is seen well is a stranger.
        for photo in gallery.glob("Grace Hopper*"):
            photo.unlink()
        files = {"events": folder / "visits.jsonl", "visit_snapshots": folder / "pictures"}
        models = ModelSettings(backend="onnx")
        with held_run(
            video, gallery, models, folder, FRAMES_BEFORE, strangers=True, **files
        ) as one, chromium() as browser:
            status = Tab(browser, one.client.port, viewport=SIZE)
            status.open("status")
            for _ in range(STEPS):
                one.held.go_on(FRAMES_PER_STEP)
                status.page.wait_for_timeout(STEP_MS)
            for view, selector in WAIT_FOR.items():
                tab = status if view == "status" else Tab(browser, one.client.port, viewport=SIZE)
                page = tab.page if view == "status" else tab.open(view)
                page.wait_for_selector(selector)
                page.wait_for_function("[...document.images].every((image) => image.complete)")
                png = np.frombuffer(page.screenshot(), np.uint8)
                image = cv2.imdecode(png, cv2.IMREAD_COLOR)
                encoded = cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, QUALITY])[1]
                (FOLDER / f"page-{view}.webp").write_bytes(encoded.tobytes())
                tab.context.close()


if __name__ == "__main__":
    main()
