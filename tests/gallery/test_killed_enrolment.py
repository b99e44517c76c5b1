"""The first enrolment of many photos, killed for real: the next start goes on from there."""

import subprocess
import sys
import textwrap

import cv2
import pytest
from waiting import PATIENT_S, until

from app.gallery.cache import CACHE_FILE

PHOTOS = 40

ENROL = """
    import sys
    from pathlib import Path
    from app.gallery import folder, gallery
    from app.recognizer import Recognizer
    from app.settings.reader import read_file, resolve

    folder.SAVE_EVERY_S = 0.1
    examine_photo = gallery.examine_photo

    def counted(*arguments, **options):
        print("examined", flush=True)
        examined.append(None)
        if len(examined) == int(sys.argv[3]):
            sys.stdin.readline()
        return examine_photo(*arguments, **options)

    examined = []

    gallery.examine_photo = counted
    settings = resolve([read_file(Path(sys.argv[1]))]).settings
    with Recognizer.from_settings(settings) as recognizer:
        enrolled = gallery.Gallery.open(sys.argv[2], recognizer, settings)
        print(len(enrolled.people.row_photos), flush=True)
"""


@pytest.fixture
def many_photos(tmp_path, people_gallery):
    """Photos of the demo's people, each a little brighter than the one before."""
    folder = tmp_path / "gallery"
    folder.mkdir()
    portraits = [cv2.imread(str(path)) for path in sorted(people_gallery.glob("*.jpg"))]
    for number in range(PHOTOS):
        portrait = portraits[number % len(portraits)]
        picture = cv2.convertScaleAbs(portrait, alpha=1 + number / 400, beta=0)
        cv2.imwrite(str(folder / f"{'Ann' if number % 4 < 2 else 'Bob'}_{number}.png"), picture)
    return folder


def start(config_file, folder, stands_still_at=0):
    paths = [path for path in sys.path if path]
    source = f"import sys; sys.path[:0] = {paths!r}\n" + textwrap.dedent(ENROL)
    command = [sys.executable, "-c", source, str(config_file), str(folder), str(stands_still_at)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_after_kill_9_only_the_other_photos_are_examined(config_file, many_photos):
    first = start(config_file, many_photos, PHOTOS // 2)
    assert [first.stdout.readline() for _ in range(PHOTOS // 4)] == ["examined\n"] * (PHOTOS // 4)
    until(lambda: first.poll() is not None or (many_photos / CACHE_FILE).exists())
    first.kill()
    killed, _ = first.communicate(timeout=PATIENT_S)
    before = PHOTOS // 4 + killed.count("examined")
    assert before < PHOTOS, "it was not finished"

    out, err = start(config_file, many_photos).communicate(timeout=PATIENT_S)
    *examined, used = out.splitlines()
    assert int(used) == PHOTOS, err
    again = before + len(examined) - PHOTOS
    assert len(examined) < PHOTOS, "the next start begins again"
    assert 0 <= again < before
