import contextlib
from functools import partial

import cv2
import pytest
from http_client import serving

from app.settings import GallerySettings, ModelSettings, Settings

for package in ("starlette", "uvicorn", "msgspec", "orjson", "msgpack", "python_multipart"):
    pytest.importorskip(package)


@pytest.fixture(scope="session")
def built_in_models():
    return ModelSettings(backend="onnx")


@pytest.fixture(scope="session")
def served(tmp_path_factory, people_gallery, built_in_models):
    """A client of a server that knows Collins and Hopper. Tests do not change its gallery."""
    folder = tmp_path_factory.mktemp("served")
    images = folder / "images"
    images.mkdir()
    settings = Settings(models=built_in_models, gallery=GallerySettings(folder=people_gallery))
    with serving(settings, root_images=images, tokens=folder / "tokens.json") as client:
        yield client


@pytest.fixture
def own(settings, tmp_path):
    """A client of a server with an empty gallery, which a test may change."""
    with serving(settings, tokens=tmp_path / "tokens.json", audit_log=tmp_path / "audit.jsonl") as client:
        client.gallery, client.audit_log = settings.gallery.folder, tmp_path / "audit.jsonl"
        yield client


@pytest.fixture(scope="session")
def photo(portraits):
    """A JPEG of Collins."""
    return cv2.imencode(".jpg", portraits[0].image)[1].tobytes()


@pytest.fixture(scope="session")
def photos(portraits):
    """Two different JPEGs of each person."""
    return [
        [cv2.imencode(".jpg", picture)[1].tobytes() for picture in (portrait.image, portrait.image[:, ::-1].copy())]
        for portrait in portraits
    ]


@pytest.fixture(scope="session")
def group(portraits):
    """A JPEG of all three people next to each other."""
    heads = [cv2.resize(portrait.image, (300, 400)) for portrait in portraits]
    return cv2.imencode(".jpg", cv2.hconcat(heads))[1].tobytes()


@pytest.fixture(scope="session")
def running(people_video, people_gallery, built_in_models):
    """Runs a video of three people with a server, up to its 20th frame; see `watched_run.running`."""
    from watched_run import running

    return partial(running, people_video, people_gallery, built_in_models)


@pytest.fixture(scope="session")
def crowd(running, tmp_path_factory):
    """A client of a run with an event log and pictures of visits, and the view of the run."""
    folder = tmp_path_factory.mktemp("crowd")
    with running(folder, events=folder / "visits.jsonl") as opened:
        yield opened


@pytest.fixture
def watched(settings, recognizer, tmp_path):
    """Starts servers with channels of which a test shows pictures."""
    from watched_run import watched

    with contextlib.ExitStack() as stack:

        def start(*channels, **more):
            return stack.enter_context(watched(settings, recognizer, tmp_path, channels, **more))

        yield start
