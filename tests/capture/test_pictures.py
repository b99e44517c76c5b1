"""Pictures of every kind come out upright, three channels, eight bits; what cannot be read says why."""

import re
import struct
import subprocess
import sys
import textwrap
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.capture.picture_headers import read_header
from app.capture.pictures import decode_picture, picture_files, read_picture
from app.errors import SourceError

LOSSLESS = [".png", ".bmp", ".tiff", ".ppm", ".webp"]


def scene(height=30, width=41):
    """Every corner has another colour, so that no turn or mirror image looks like another."""
    image = np.full((height, width, 3), 128, np.uint8)
    image[: height // 2, : width // 2] = (255, 0, 0)
    image[: height // 2, width // 2 :] = (0, 255, 0)
    image[height // 2 :, : width // 2] = (0, 0, 255)
    return image


def encoded(image, suffix, *options):
    done, data = cv2.imencode(suffix, image, list(options))
    assert done
    return data.tobytes()


def lossless(image, suffix):
    return encoded(image, suffix, cv2.IMWRITE_WEBP_QUALITY, 101) if suffix == ".webp" else encoded(image, suffix)


def exif(orientation, order="<"):
    head = b"II*\0" if order == "<" else b"MM\0*"
    return head + struct.pack(order + "IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def with_exif(data, block):
    """The same file with an EXIF block, put in by the rules of its format."""
    if data[:2] == b"\xff\xd8":
        body = b"Exif\0\0" + block
        return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]
    if data[:4] == b"\x89PNG":
        import zlib

        chunk = b"eXIf" + block
        return data[:33] + struct.pack(">I", len(block)) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]
    height, width = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape[:2]
    vp8x = b"VP8X" + struct.pack("<IBBH", 10, 0x08, 0, 0) + (width - 1).to_bytes(3, "little")
    vp8x += (height - 1).to_bytes(3, "little")
    body = b"WEBP" + vp8x + data[12:] + b"EXIF" + struct.pack("<I", len(block)) + block
    return b"RIFF" + struct.pack("<I", len(body)) + body


# How a camera that was held so stores the scene: the inverse of what a viewer must do.
STORED = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: np.rot90(image, 1),
    7: lambda image: image[::-1, ::-1].transpose(1, 0, 2),
    8: lambda image: np.rot90(image, -1),
}


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(tmp_path, suffix, order, orientation):
    path = tmp_path / f"photo{suffix}"
    stored = np.ascontiguousarray(STORED[orientation](scene()))
    data = encoded(stored, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 100) if suffix == ".jpg" else lossless(stored, suffix)
    path.write_bytes(with_exif(data, exif(orientation, order)))
    seen = read_picture(path)
    assert seen.shape == scene().shape
    assert np.abs(seen.astype(int) - scene())[4:10, 4:15].max() < 12
    assert np.abs(seen.astype(int) - scene()).mean() < 12
    assert seen.flags.c_contiguous


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_agrees_with_opencv(tmp_path, orientation):
    path = tmp_path / "photo.jpg"
    path.write_bytes(with_exif(encoded(scene(), ".jpg"), exif(orientation)))
    assert np.array_equal(read_picture(path), cv2.imread(str(path), cv2.IMREAD_COLOR))


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_invalid_orientation_counts_as_upright(tmp_path, orientation):
    path = tmp_path / "photo.png"
    path.write_bytes(with_exif(lossless(scene(), ".png"), exif(orientation)))
    assert np.array_equal(read_picture(path), scene())


@pytest.mark.parametrize("suffix", LOSSLESS)
@pytest.mark.parametrize("size", [(1, 1), (3, 7), (101, 33)])
def test_lossless_formats_are_read_exactly(tmp_path, suffix, size):
    path = tmp_path / f"张伟 José{suffix}"
    path.write_bytes(lossless(scene(*size), suffix))
    assert np.array_equal(read_picture(path), scene(*size))


def test_grey_pictures_get_three_channels(tmp_path):
    grey = np.arange(60, dtype=np.uint8).reshape(6, 10)
    for suffix in (".png", ".jpg", ".tiff"):
        path = tmp_path / f"grey{suffix}"
        path.write_bytes(encoded(grey, suffix, cv2.IMWRITE_JPEG_QUALITY, 100))
        seen = read_picture(path)
        assert seen.shape == (6, 10, 3) and seen.dtype == np.uint8
        assert np.abs(seen.astype(int) - grey[:, :, None]).max() <= 2


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_become_8(tmp_path, suffix, channels):
    deep = np.full((4, 5, channels), 0xC8FF, np.uint16)
    path = tmp_path / f"deep{suffix}"
    path.write_bytes(encoded(deep, suffix))
    seen = read_picture(path)
    assert seen.shape == (4, 5, 3) and seen.dtype == np.uint8
    assert np.all(seen == 0xC8)


def test_transparent_parts_become_white(tmp_path):
    image = np.zeros((2, 3, 4), np.uint8)
    image[0, 0] = (10, 20, 30, 255)
    image[0, 1] = (0, 0, 0, 128)
    path = tmp_path / "cut out.png"
    path.write_bytes(encoded(image, ".png"))
    seen = read_picture(path)
    assert seen.shape == (2, 3, 3)
    assert seen[0, 0].tolist() == [10, 20, 30]
    assert seen[0, 1].tolist() == [127, 127, 127]
    assert seen[1, 2].tolist() == [255, 255, 255]


@pytest.mark.parametrize("suffix", [".jpg", *LOSSLESS])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.97])
def test_an_incomplete_picture_is_refused_by_name(tmp_path, suffix, share):
    noise = np.random.RandomState(0).randint(0, 256, (80, 90, 3)).astype(np.uint8)
    data = lossless(noise, suffix)
    path = tmp_path / f"half{suffix}"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(SourceError, match="half"):
        read_picture(path)


def test_the_end_of_a_thumbnail_is_not_the_end_of_its_jpeg(tmp_path):
    photo = encoded(np.random.RandomState(0).randint(0, 256, (80, 90, 3)).astype(np.uint8), ".jpg")
    whole = with_exif(photo, exif(1) + encoded(scene(), ".jpg"))
    (tmp_path / "whole.jpg").write_bytes(whole)
    assert read_picture(tmp_path / "whole.jpg").shape == (80, 90, 3)
    (tmp_path / "half.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match=r"half\.jpg: .*incomplete"):
        read_picture(tmp_path / "half.jpg")


@pytest.mark.parametrize("progressive", [0, 1])
def test_data_after_the_end_of_a_jpeg_is_ignored(tmp_path, progressive):
    data = encoded(scene(300, 410), ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, progressive, cv2.IMWRITE_JPEG_RST_INTERVAL, 4)
    path = tmp_path / "phone.jpg"
    path.write_bytes(data + b"a video that the phone put here" * 99)
    assert read_picture(path).shape == (300, 410, 3)


def test_a_damaged_png_is_refused(tmp_path):
    data = bytearray(lossless(scene(), ".png"))
    data[60] ^= 0xFF
    (tmp_path / "bad.png").write_bytes(bytes(data))
    with pytest.raises(SourceError, match=r"bad\.png: .*PNG"):
        read_picture(tmp_path / "bad.png")


@pytest.mark.parametrize("suffix", [".jpg", *LOSSLESS])
def test_the_size_is_read_without_decoding(suffix):
    header = read_header(lossless(scene(33, 71), suffix))
    assert (header.width, header.height, header.complete) == (71, 33, True)


@pytest.mark.parametrize(("width", "height"), [(40_000, 10), (10, 40_000), (65_500, 1)])
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_picture_of_an_extreme_shape_is_read(tmp_path, suffix, width, height):
    path = tmp_path / f"wide{suffix}"
    path.write_bytes(encoded(np.full((height, width, 3), 90, np.uint8), suffix))
    assert read_picture(path).shape == (height, width, 3)


def huge_pictures():
    jpeg = bytearray(encoded(scene(), ".jpg"))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", 20000, 30000)
    png = bytearray(lossless(scene(), ".png"))
    png[16:24] = struct.pack(">II", 100000, 100000)
    bmp = bytearray(lossless(scene(), ".bmp"))
    bmp[18:26] = struct.pack("<ii", 20000, -20000)
    webp = b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<I", 10) + b"\0" * 4 + b"\xff\xff\0" * 2
    tiff = b"II*\0" + struct.pack("<IHHHIIHHII", 8, 2, 256, 4, 1, 60000, 257, 4, 1, 60000)
    return {
        "jpg": bytes(jpeg),
        "png": bytes(png),
        "bmp": bytes(bmp),
        "webp": webp,
        "tiff": tiff,
        "ppm": b"P6 50000 9999\n255\n",
    }


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp", "tiff", "ppm"])
def test_a_picture_beyond_the_limit_is_refused_before_it_is_decoded(tmp_path, suffix, monkeypatch):
    def decode(*_):
        raise AssertionError("it was decoded")

    monkeypatch.setattr(cv2, "imdecode", decode)
    path = tmp_path / f"huge.{suffix}"
    path.write_bytes(huge_pictures()[suffix])
    with pytest.raises(SourceError, match=r"huge.* (50|4[0-9]|27|14) megapixels"):
        read_picture(path)


@pytest.mark.parametrize("twice", [256, 257])
def test_a_tiff_that_gives_its_size_twice_is_refused(tmp_path, twice, monkeypatch):
    """libtiff would take the first one, and decode gigabytes."""
    monkeypatch.setattr(cv2, "imdecode", None)
    tags = [(256, 10), (257, 10), (twice, 30000)]
    content = struct.pack("<IH", 8, len(tags)) + b"".join(struct.pack("<HHII", tag, 4, 1, size) for tag, size in tags)
    path = tmp_path / "bomb.tiff"
    path.write_bytes(b"II*\0" + content)
    with pytest.raises(SourceError, match=r"bomb\.tiff"):
        read_picture(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "empty"), (b"I am text", "not a supported picture"), (b"\xff\xd8\xff\xe0", "not a supported picture")],
)
def test_files_that_are_not_pictures_are_refused(tmp_path, content, said):
    path = tmp_path / "x.jpg"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=rf"x\.jpg: .*{said}"):
        read_picture(path)


def test_a_missing_picture_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"gone\.jpg: .*No such file"):
        read_picture(tmp_path / "gone.jpg")


@given(st.sampled_from([".jpg", ".png", ".webp", ".bmp", ".tiff", ".ppm"]), st.data())
def test_invalid_headers_never_raise(suffix, data):
    picture = bytearray(
        with_exif(lossless(scene(), suffix), exif(6)) if suffix in (".jpg", ".png") else lossless(scene(), suffix)
    )
    for at in data.draw(st.lists(st.integers(4, min(200, len(picture) - 1)), max_size=8)):
        picture[at] = data.draw(st.integers(0, 255))
    read_header(bytes(picture[: data.draw(st.integers(0, len(picture)))]))


def test_the_pictures_of_a_folder_are_in_natural_order(tmp_path):
    for name in ("10.jpg", "2.jpg", "1.PNG", "a10.webp", "A9.webp", "notes.txt", ".hidden.jpg"):
        (tmp_path / name).touch()
    (tmp_path / "folder.jpg").mkdir()
    names = ["1.PNG", "2.jpg", "10.jpg", "A9.webp", "a10.webp"]
    assert [path.name for path in picture_files(tmp_path)] == names
    assert [path.name for path in picture_files(f"{tmp_path}/*.jpg")] == ["2.jpg", "10.jpg"]
    assert picture_files(tmp_path / "notes.txt") == [tmp_path / "notes.txt"]


def test_a_folder_without_pictures_is_named(tmp_path):
    with pytest.raises(SourceError, match=re.escape(str(tmp_path))):
        picture_files(tmp_path)
    with pytest.raises(SourceError, match=r"\*\.jpg: "):
        picture_files(f"{tmp_path}/*.jpg")


def test_the_first_picture_of_a_gif_is_read_and_transparent_parts_are_white(tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    first = pillow.fromarray(scene()[:, :, ::-1])
    first.save(tmp_path / "moving.gif", save_all=True, append_images=[pillow.new("RGB", first.size)], loop=0)
    assert np.abs(read_picture(tmp_path / "moving.gif").astype(int) - scene()).max() < 8
    hole = pillow.new("P", (4, 4), 0)
    hole.info["transparency"] = 0
    hole.save(tmp_path / "hole.gif", transparency=0)
    assert (read_picture(tmp_path / "hole.gif") == 255).all()


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_heic_is_read_upright(tmp_path, orientation):
    heif = pytest.importorskip("pillow_heif")
    stored = {1: scene(60, 82), 3: scene(60, 82)[::-1, ::-1], 6: np.rot90(scene(60, 82), 1)}[orientation]
    block = b"Exif\0\0" + exif(orientation)
    heif.from_bytes("BGR", stored.shape[1::-1], np.ascontiguousarray(stored).tobytes()).save(
        tmp_path / "photo.heic", quality=95, exif=block
    )
    read = read_picture(tmp_path / "photo.heic").astype(int)
    assert read.shape == (60, 82, 3)
    for y, x in ((10, 10), (10, 70), (50, 10), (50, 70)):
        assert np.abs(read[y, x] - scene(60, 82)[y, x]).max() < 30, (y, x)


@pytest.mark.parametrize("kind", ["gif", "heic"])
def test_damaged_files_of_these_formats_say_so(tmp_path, kind):
    pillow = pytest.importorskip("PIL.Image")
    if kind == "heic":
        pytest.importorskip("pillow_heif").from_pillow(pillow.new("RGB", (64, 64))).save(tmp_path / "whole.heic")
    else:
        pillow.effect_noise((64, 64), 50).save(tmp_path / "whole.gif")
    whole = (tmp_path / f"whole.{kind}").read_bytes()
    for length in (20, len(whole) // 2, len(whole) - 20):
        (tmp_path / "part").write_bytes(whole[:length])
        with pytest.raises(SourceError, match="part"):
            read_picture(tmp_path / "part")


@pytest.mark.parametrize("side", [12_000, 60_000])
def test_a_gif_whose_picture_is_larger_than_its_header_says_is_refused(tmp_path, side):
    pillow = pytest.importorskip("PIL.Image")
    pillow.new("P", (8, 8)).save(tmp_path / "bomb.gif")
    content = bytearray((tmp_path / "bomb.gif").read_bytes())
    at = content.index(b",") + 5
    content[at : at + 4] = side.to_bytes(2, "little") * 2
    (tmp_path / "bomb.gif").write_bytes(content)
    with pytest.raises(SourceError, match=r"bomb\.gif"):
        read_picture(tmp_path / "bomb.gif")


def test_a_heic_file_without_a_usable_picture_is_refused(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    heif.from_pillow(pytest.importorskip("PIL.Image").new("RGB", (64, 64))).save(tmp_path / "empty.heic")
    content = (tmp_path / "empty.heic").read_bytes()
    # The picture's list of properties, of which the first one does not exist then.
    properties = b"\x04\x81\x02\x03\x04"
    if properties not in content:
        pytest.skip("this version of pillow-heif writes other files")
    (tmp_path / "empty.heic").write_bytes(content.replace(properties, b"\x04\x59\x02\x03\x04"))
    with pytest.raises(SourceError, match=r"empty\.heic"):
        read_picture(tmp_path / "empty.heic")


@pytest.mark.parametrize(("kind", "package"), [("gif", "PIL"), ("heic", "pillow_heif")])
def test_without_the_package_it_is_named(tmp_path, monkeypatch, kind, package):
    path = tmp_path / f"photo.{kind}"
    path.write_bytes(b"GIF89a\1\0\1\0\0\0\0;" if kind == "gif" else b"\0\0\0\x18ftypheic" + bytes(40))
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SourceError, match="pip install"):
        read_picture(path)


def png_of(width, height, bits, path):
    """RGBA, half transparent, written in parts."""
    import zlib

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    packer = zlib.compressobj(1)
    row = b"\0" + bytes(value for value in (200, 100, 50, 128) for _ in range(bits // 8)) * width
    body = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 6, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", body) + chunk(b"IEND", b""))


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(("height", "width"), [(600, 801), (1025, 401), (1, 3000)])
def test_a_photo_that_is_too_large_is_halved(height, width, channels):
    columns = np.linspace(0, 200, width).astype(np.uint8)
    image = np.repeat(np.repeat(columns[None, :, None], height, axis=0), channels, axis=2)
    if channels == 4:
        image[:, :, 3] = 255
    found = decode_picture(encoded(image, ".png"), "photo", max_pixels=width * height - 1)
    assert found.shape == (max(1, height // 2), width // 2, 3)
    if height > 1:
        assert np.abs(found[-1, :, 0].astype(int) - columns[::2][: width // 2]).max() <= max(2, 200 // width)
    assert decode_picture(encoded(image, ".png"), "photo", width * height).shape == (height, width, 3)


MEASURED = """
    import sys
    from app.capture.pictures import decode_picture
    from app.gallery.gallery import MAX_PHOTO_PIXELS

    with open(sys.argv[1], "rb") as file:
        picture = decode_picture(file.read(), "photo", MAX_PHOTO_PIXELS if sys.argv[2] == "photo" else None)
    (peak,) = (line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(*picture.shape, *picture[0, 0], int(peak) / 1000)
"""
DRAWN = """
    import sys
    import cv2, numpy as np

    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, int(sys.argv[4])]
    cv2.imwrite(sys.argv[1], np.full((int(sys.argv[3]), int(sys.argv[2])), 90, np.uint8), options)
"""


def run_script(source, *arguments):
    setup = f"import sys; sys.path[:0] = {[path for path in sys.path if path]!r}\n"
    command = [sys.executable, "-c", setup + textwrap.dedent(source), *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc to measure it with")
@pytest.mark.parametrize(
    ("width", "bits", "purpose", "size"), [(2800, 16, "frame", (7000, 2800)), (6100, 8, "photo", (3500, 3050))]
)
def test_the_largest_png_needs_less_than_450_megabytes(tmp_path, width, bits, purpose, size):
    path = tmp_path / "huge.png"
    png_of(width, 7000, bits, path)
    height, width, _, blue, green, red, peak_mb = map(float, run_script(MEASURED, path, purpose).split())
    assert (height, width) == pytest.approx(size, abs=2)
    assert (blue, green, red) == pytest.approx((152, 177, 227), abs=2), "on white"
    assert peak_mb < 450


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc to measure it with")
@pytest.mark.parametrize(("width", "height", "progressive"), [(16320, 12240, 0), (6500, 5100, 1)])
def test_the_largest_photo_of_a_phone_needs_less_than_450_megabytes(tmp_path, width, height, progressive):
    path = tmp_path / "huge.jpg"
    run_script(DRAWN, path, width, height, progressive)
    rows, columns, *_, peak_mb = map(float, run_script(MEASURED, path, "photo").split())
    assert rows * columns <= 25_000_000
    assert columns / rows == pytest.approx(width / height, rel=0.001)
    assert peak_mb < 450
