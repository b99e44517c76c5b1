"""Archives of the demo's pictures."""

import shutil

import pytest
from held_pictures import HeldPicture, few_pictures_in
from shipped import CATALOG

from app.errors import ExitCode


@pytest.fixture(scope="session")
def few_pictures(tmp_path_factory, portraits):
    return few_pictures_in(tmp_path_factory.mktemp("few") / "pictures", portraits)


@pytest.fixture
def held(few_pictures, portraits, tmp_path):
    """A copy of the pictures with one more that is held back."""
    folder = tmp_path / "pictures"
    shutil.copytree(few_pictures, folder)
    return HeldPicture(folder / "held.png", portraits[0].image)


@pytest.fixture(scope="session")
def rows_of():
    """The rows of an archive by file; of a video, the last one."""

    def read(out):
        from app.archive.parts import part_files, read_rows

        return {row["file"]: row for path in part_files(out) for row in read_rows(path, ["file", "error", "faces"])}

    return read


@pytest.fixture(scope="session")
def archive(tmp_path_factory, few_pictures, people_video):
    """A finished archive of pictures and a video, made in this process."""
    from app.cli import main

    folder = tmp_path_factory.mktemp("archive")
    config = folder / "test.yaml"
    config.write_text(f"models:\n  catalog: {CATALOG}\n  backend: onnx\n", encoding="utf-8")
    words = ["batch", few_pictures, people_video, "--every", 0.5, "--out", folder / "out", "--workers", 2]
    assert main([*map(str, words), "--config", str(config)]) == ExitCode.INCOMPLETE
    return folder / "out"
