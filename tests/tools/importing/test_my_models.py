"""The user's own catalogue: beside the shipped one, and never lost."""

import errno
import os
import subprocess

import pytest
import yaml
from shipped import CATALOG, ROOT

from app.errors import ModelError
from app.models.catalog import read_catalog
from app.models.entry import MY_MODELS
from app.tools.importing.my_models import check_name, install_model, name_for, write_model_file

FACTS = {
    "task": "detection",
    "family": "scrfd",
    "sha256": "0" * 64,
    "channels": "rgb",
    "mean": [127.5, 127.5, 127.5],
    "divisor": 128,
    "licence": "unknown",
    "source": "net.onnx",
}


@pytest.fixture
def install(tmp_path, catalog_path):
    def run(name, content=b"", **more):
        network = tmp_path / "made.onnx"
        network.write_bytes(content or name.encode())
        install_model(read_catalog(catalog_path), name, network, {**FACTS, "file": f"{name}.onnx", **more})
        return catalog_path.with_name(MY_MODELS)

    return run


def test_an_installed_model_is_found_by_its_name(install, catalog_path):
    install("mine")
    entry = read_catalog(catalog_path).require("mine", "detection")
    assert entry.file == catalog_path.with_name("mine.onnx") and entry.file.read_bytes() == b"mine"
    assert (entry.licence, entry.built_in, entry.url) == ("unknown", False, "")


def test_a_new_version_replaces_its_own_entry_alone(install, catalog_path):
    install("first")
    path = install("second", source="old")
    path.write_text(path.read_text() + "\n# mine to keep\nthird:\n  " + "\n  ".join(lines_of(FACTS)) + "\n")
    install("second", source="new")
    assert {name: entry.source for name, entry in read_catalog(catalog_path).entries.items()} == {
        "first": "net.onnx",
        "second": "new",
        "third": "net.onnx",
    }
    assert "# mine to keep" in path.read_text() and path.read_text().count("second:") == 1


def lines_of(facts):
    return yaml.safe_dump({**facts, "file": "third.onnx"}).splitlines()


def test_a_broken_entry_is_replaced_when_that_is_said(install, catalog_path):
    path = catalog_path.with_name(MY_MODELS)
    path.write_text("mine: {task: detection}\n")
    with pytest.raises(ModelError, match=r"'mine'.*--replace"):
        check_name("mine", read_catalog(catalog_path), replace=False)
    check_name("mine", read_catalog(catalog_path), replace=True)
    install("mine")
    assert not read_catalog(catalog_path).invalid and "mine" in read_catalog(catalog_path).entries


def test_a_name_of_both_catalogues_is_refused_for_a_new_model(install, catalog_path):
    install("mine")
    catalog_path.write_text(yaml.safe_dump({"mine": {**FACTS, "file": "other.onnx"}}))
    found = read_catalog(catalog_path)
    with pytest.raises(ModelError, match=r"catalog\.yaml .*'mine'"):
        check_name("mine", found, replace=True)


@pytest.mark.parametrize("content", [b"mine:\n  a: 1\n b: 2\n", b"# gr\xfcn\n"], ids=["indentation", "latin-1"])
def test_nothing_is_written_into_a_file_of_entries_that_cannot_be_read(install, catalog_path, content):
    path = catalog_path.with_name(MY_MODELS)
    path.write_bytes(content)
    for name, replace in (("another", False), ("mine", True)):
        with pytest.raises(ModelError, match=r"my_models\.yaml:\d: "):
            check_name(name, read_catalog(catalog_path), replace)
        with pytest.raises(ModelError, match=r"my_models\.yaml:\d: "):
            install(name)
    assert files(catalog_path.parent).keys() == {"catalog.yaml", MY_MODELS} and path.read_bytes() == content


def test_an_empty_file_of_entries_is_none(catalog_path):
    catalog_path.with_name(MY_MODELS).write_text("# nothing yet\n")
    assert not read_catalog(catalog_path).entries


def test_a_file_that_cannot_be_extended_stays_as_it_is(install, catalog_path):
    path = catalog_path.with_name(MY_MODELS)
    path.write_text("{}\n")
    with pytest.raises(ModelError, match=r"my_models\.yaml"):
        install("mine")
    assert path.read_text() == "{}\n" and not catalog_path.with_name("mine.onnx").exists()


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), KeyboardInterrupt()])
def test_where_the_entry_cannot_be_written_everything_stays_as_it_was(install, catalog_path, monkeypatch, failure):
    def failing(descriptor):
        raise failure

    before = files(install("mine", source="old").parent)
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", failing)
        for name in ("mine", "another"):
            with pytest.raises((ModelError, KeyboardInterrupt)):
                install(name, source="new", content=b"newer")
            assert files(catalog_path.parent) == before
    install("mine", source="new", content=b"newer")
    assert files(catalog_path.parent).keys() == before.keys()
    assert read_catalog(catalog_path).require("mine").file.read_bytes() == b"newer"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing to kill without fork")
def test_importing_again_mends_what_a_killed_import_left(install, catalog_path, monkeypatch):
    install("mine", source="old")
    child = os.fork()
    if child == 0:
        try:
            monkeypatch.setattr(os, "fsync", lambda descriptor: os._exit(9))
            install("mine", source="never", content=b"newer")
        finally:
            os._exit(1)
    assert os.WEXITSTATUS(os.waitpid(child, 0)[1]) == 9
    assert catalog_path.with_name("mine.onnx").read_bytes() == b"newer"
    install("mine", source="new", content=b"newest")
    entry = read_catalog(catalog_path).require("mine")
    assert entry.source == "new" and entry.file.read_bytes() == b"newest"
    assert not catalog_path.with_name(".mine.onnx.before").exists()


def test_what_a_killed_import_left_is_not_taken_for_the_network_of_today(install, catalog_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    catalog_path.with_name(".mine.onnx.before").write_bytes(b"ancient")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ModelError):
        install("mine")
    assert files(catalog_path.parent).keys() == {"catalog.yaml"}


def test_names_are_made_of_file_names(catalog_path):
    catalog = read_catalog(catalog_path)
    assert name_for("mobilenet0.25 Final", catalog) == "mobilenet0_25_Final"
    assert name_for("...", catalog) == "model"


def test_networks_that_people_bring_are_called_as_the_import_calls_them():
    catalog = read_catalog(CATALOG)
    names = list(catalog.without_file)
    assert names and [name_for(name, catalog) for name in names] == names


def test_a_shipped_name_is_not_taken(catalog_path):
    catalog_path.write_text(yaml.safe_dump({"w600k": {**FACTS, "file": "w600k.onnx"}}))
    catalog = read_catalog(catalog_path)
    assert name_for("w600k", catalog) == "my_w600k"
    with pytest.raises(ModelError, match=r"'w600k'.*--name"):
        check_name("w600k", catalog, replace=True)


@pytest.mark.parametrize("name", ["../net", "a b", "", "-x", "net.onnx"])
def test_a_name_that_could_be_a_path_is_refused(catalog_path, name):
    with pytest.raises(ModelError, match="name"):
        check_name(name, read_catalog(catalog_path), replace=False)


def test_a_model_is_replaced_only_when_that_is_said(install, catalog_path):
    install("mine")
    catalog = read_catalog(catalog_path)
    with pytest.raises(ModelError, match="--replace"):
        check_name("mine", catalog, replace=False)
    check_name("mine", catalog, replace=True)


def test_a_file_that_is_in_the_way_is_not_overwritten(catalog_path):
    catalog_path.with_name("net.onnx").write_bytes(b"somebody's")
    with pytest.raises(ModelError, match=r"net\.onnx .*--replace"):
        check_name("net", read_catalog(catalog_path), replace=False)


def test_an_unwritable_file_is_an_error(tmp_path):
    with pytest.raises(ModelError, match="cannot be written"):
        write_model_file(tmp_path, b"content")


def test_git_leaves_users_models_alone():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    for name in (MY_MODELS, "mine.onnx"):
        assert subprocess.run(["git", "check-ignore", "-q", f"engines/{name}"], cwd=ROOT).returncode == 0
