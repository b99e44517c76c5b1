"""Packs of networks, and zip files that mean no good."""

import zipfile

import pytest

from app.errors import ModelError
from app.tools.importing import pack
from app.tools.importing.pack import is_pack, unpacked


def zipped(path, members, **how):
    with zipfile.ZipFile(path, "w", **how) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_networks_are_taken_out_of_their_folders_and_nothing_else(tmp_path):
    path = zipped(tmp_path / "pack.zip", {"buffalo/a.onnx": b"first", "b.ONNX": b"second", "readme.txt": b"no"})
    with unpacked(path) as files:
        assert {file.name: file.read_bytes() for file in files} == {"a.onnx": b"first", "b.ONNX": b"second"}
    assert not any(file.exists() for file in files)


@pytest.mark.parametrize("name", ["../../outside.onnx", "/outside.onnx", "..\\..\\outside.onnx", "C:\\x\\outside.onnx"])
def test_no_name_leads_out_of_the_folder(tmp_path, name):
    with unpacked(zipped(tmp_path / "pack.zip", {name: b"x"})) as files:
        assert [file.name for file in files] == ["outside.onnx"]
        assert files[0].parent.parent != tmp_path
    assert not (tmp_path / "outside.onnx").exists() and not (tmp_path.parent / "outside.onnx").exists()


def test_two_networks_of_one_name_are_refused(tmp_path):
    path = zipped(tmp_path / "pack.zip", {"a/net.onnx": b"1", "b/net.onnx": b"2"})
    with pytest.raises(ModelError, match=r"net\.onnx"), unpacked(path):
        pass


def test_a_bomb_is_stopped_where_it_grows_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(pack, "MAX_NETWORK_BYTES", 1 << 20)
    path = zipped(tmp_path / "pack.zip", {"net.onnx": bytes(4 << 20)}, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10_000
    with pytest.raises(ModelError, match=r"net\.onnx is larger than"), unpacked(path):
        pass


def test_too_many_networks_are_refused(tmp_path):
    path = zipped(tmp_path / "pack.zip", {f"{number}.onnx": b"" for number in range(51)})
    with pytest.raises(ModelError, match="51 networks"), unpacked(path):
        pass


def test_a_damaged_member_is_named(tmp_path):
    path = zipped(tmp_path / "pack.zip", {"net.onnx": b"0123456789" * 20})
    content = path.read_bytes()
    path.write_bytes(content.replace(b"0123456789", b"9876543210", 1))
    with pytest.raises(ModelError, match=r"net\.onnx cannot be unpacked"), unpacked(path):
        pass


def test_other_zip_files_are_no_packs(tmp_path):
    assert not is_pack(zipped(tmp_path / "other.zip", {"a.txt": b"x", "._net.onnx": b"left by a Mac"}))
    (tmp_path / "text").write_text("hello")
    assert not is_pack(tmp_path / "text")
