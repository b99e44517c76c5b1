"""Several programs that change one gallery at the same time: real processes, started together."""

import subprocess
import sys
import textwrap

import cv2
import pytest
from waiting import PATIENT_S

from app.gallery.changing import changing
from app.service.tokens import read_tokens

PROGRAMS = 3
EACH = 10

ENROL = """
    from app.gallery.gallery import Added, Gallery, NewPhoto
    from app.recognizer import Recognizer
    from app.settings.reader import read_file, resolve

    number, config, folder, photos = int(sys.argv[1]), *map(Path, sys.argv[2:])
    settings = resolve([read_file(config)]).settings
    with Recognizer.from_settings(settings) as recognizer, Gallery.open(folder, recognizer, settings) as gallery:
        mine = [path.read_bytes() for path in sorted(photos.glob(f"{number}-*.png"))]
        common = (photos / "common.png").read_bytes()
        print("ready", flush=True)
        sys.stdin.readline()
        results = gallery.add_all("Ann", [NewPhoto("photo.png", data) for data in [common, *mine]])
    print(*(result.reason.value for result in results))
"""

RENAME = """
    from app.gallery.files import add_photo, rename_person

    number, folder = int(sys.argv[1]), Path(sys.argv[2])
    print("ready", flush=True)
    sys.stdin.readline()
    for count in range(int(sys.argv[3])):
        add_photo(folder, f"Person {number}", "photo.jpg", f"{number} {count}".encode())
        rename_person(folder, f"Person {number}", "Ann", merge=True)
"""

MAKE_TOKENS = """
    from app.service.tokens import add_token

    number, path = sys.argv[1], Path(sys.argv[2])
    print("ready", flush=True)
    sys.stdin.readline()
    for count in range(int(sys.argv[3])):
        add_token(path, f"{number}-{count}", "read")
"""


@pytest.fixture
def together():
    """Runs a program several times at once; what each has printed."""
    started = []

    def together(source, *arguments):
        paths = [path for path in sys.path if path]
        source = f"import sys; from pathlib import Path; sys.path[:0] = {paths!r}\n" + textwrap.dedent(source)
        for number in range(PROGRAMS):
            command = [sys.executable, "-c", source, str(number), *map(str, arguments)]
            started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        assert [process.stdout.readline() for process in started] == ["ready\n"] * PROGRAMS
        for process in started:
            process.stdin.write("go\n")
            process.stdin.flush()
        printed = [process.communicate(timeout=PATIENT_S)[0] for process in started]
        assert [process.returncode for process in started] == [0] * PROGRAMS
        return printed

    yield together
    for process in started:
        process.kill()
        process.communicate()


def test_every_photo_is_kept_and_the_same_one_only_once(together, config_file, tmp_path, people_gallery):
    folder, photos = tmp_path / "gallery", tmp_path / "photos"
    folder.mkdir()
    photos.mkdir()
    portrait = cv2.imread(str(sorted(people_gallery.glob("*.jpg"))[0]))
    for count in range(PROGRAMS * EACH):
        picture = cv2.convertScaleAbs(portrait, alpha=1 + (count + 1) / 400, beta=0)
        cv2.imwrite(str(photos / f"{count // EACH}-{count:02}.png"), picture)
    cv2.imwrite(str(photos / "common.png"), portrait)

    printed = together(ENROL, config_file, folder, photos)

    reasons = [reason for line in printed for reason in line.split()]
    assert sorted(reasons) == ["already_enrolled"] * (PROGRAMS - 1) + ["used"] * (PROGRAMS * EACH + 1)
    kept = sorted(path.read_bytes() for path in (folder / "Ann").iterdir())
    assert kept == sorted(path.read_bytes() for path in photos.iterdir())


def test_photos_that_are_moved_into_one_folder_are_all_kept(together, tmp_path):
    folder = tmp_path / "gallery"
    folder.mkdir()
    together(RENAME, folder, EACH)
    kept = sorted(path.read_text() for path in (folder / "Ann").iterdir())
    assert kept == sorted(f"{number} {count}" for number in range(PROGRAMS) for count in range(EACH))
    assert [path.name for path in folder.iterdir() if path.is_dir()] == ["Ann"]


def test_every_token_is_kept(together, tmp_path):
    path = tmp_path / "tokens.json"
    together(MAKE_TOKENS, path, EACH)
    names = sorted(token.name for token in read_tokens(path))
    assert names == sorted(f"{number}-{count}" for number in range(PROGRAMS) for count in range(EACH))


def test_a_change_within_a_change_does_not_wait(tmp_path):
    with changing(tmp_path) as first, changing(tmp_path) as part:
        assert (first, part) == (True, False)
    with changing(tmp_path) as again:
        assert not again
