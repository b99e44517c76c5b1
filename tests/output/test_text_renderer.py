"""Names in any script, or a warning that says what to install."""

import logging
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.output.bidi import needs_joining, visual_order
from app.output.text_renderer import (
    BOLD,
    HersheyText,
    OpenCvText,
    PillowText,
    TextRenderer,
    fix_for,
    script_of,
)

needs_opencv_5 = pytest.mark.skipif(not OpenCvText.available(), reason="needs OpenCV 5")
needs_pillow = pytest.mark.skipif(not PillowText.available(), reason="Pillow is not installed")


def backends():
    made = [HersheyText()]
    if OpenCvText.available():
        made.append(OpenCvText())
    if PillowText.available() and not PillowText().missing("A"):
        made.append(PillowText())
    return made


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("backend", backends(), ids=lambda made: type(made).__name__)
@pytest.mark.parametrize("height_px", [13, 26, 60])
def test_every_backend_puts_letters_on_the_same_line(backend, height_px):
    rows = np.flatnonzero(backend.mask("HEX", height_px, 400).max(axis=1) > 127)
    middle = (rows[0] + rows[-1]) / 2 / height_px
    assert 0.38 < middle < 0.62, "capitals stand in the middle of the line"
    assert 0.4 < (rows[-1] - rows[0] + 1) / height_px < 0.75


@needs_opencv_5
def test_chinese_and_accented_names_are_drawn_without_a_warning(caplog):
    renderer = TextRenderer([OpenCvText()])
    shapes = [renderer.mask(text, 32).tobytes() for text in ("张伟", "王芳", "??", "José", "Jose", "Русский")]
    assert len(set(shapes)) == len(shapes)
    assert not warnings(caplog)


@needs_opencv_5
def test_opencv_knows_what_it_cannot_draw():
    backend = OpenCvText()
    assert backend.missing("Ann 张 é ? Ж") == ""
    assert backend.missing("हिन्दी") and backend.missing("ไทย") and backend.missing("😀")
    assert backend.missing("محمد"), "Arabic letters must be joined, which it does not do"


@needs_pillow
def test_pillow_draws_with_a_font_that_has_the_letters(caplog):
    backend = PillowText()
    if backend.missing("Русский"):
        pytest.skip("no font with Cyrillic letters here (fonts-dejavu-core)")
    renderer = TextRenderer([backend])
    assert renderer.mask("Русский", 32).max() > 200
    assert not np.array_equal(renderer.mask("Русский", 32), renderer.mask("???????", 32))
    assert not warnings(caplog)


@needs_pillow
def test_pillow_draws_chinese_names_where_a_font_has_them(caplog):
    backend = PillowText()
    if backend.missing("张伟"):
        pytest.skip("no font with Chinese letters here (fonts-wqy-zenhei)")
    renderer = TextRenderer([backend])
    assert not np.array_equal(renderer.mask("张伟", 32), renderer.mask("王芳", 32))
    assert not warnings(caplog)


@needs_pillow
def test_a_machine_without_fonts_falls_back_to_the_line_font(tmp_path):
    backend = PillowText([tmp_path])
    assert backend.missing("Ann")
    assert np.array_equal(TextRenderer([backend, HersheyText()]).mask("Ann", 32), HersheyText().mask("Ann", 32))


@needs_pillow
def test_a_damaged_font_is_skipped(tmp_path):
    (tmp_path / "broken.ttf").write_bytes(b"not a font")
    assert PillowText([tmp_path]).missing("Ann")


def test_letters_that_nothing_can_draw_are_warned_of_once_a_script_with_a_fix_for(caplog):
    renderer = TextRenderer([HersheyText()])
    for text in ("张伟", "王芳", "Русский", "张"):
        renderer.mask(text, 32)
    chinese, cyrillic = warnings(caplog)
    assert "CJK" in chinese and "'张伟'" in chinese and "apt-get install fonts-noto-cjk" in chinese
    assert "CYRILLIC" in cyrillic and "fonts-noto-core" in cyrillic


def test_the_line_font_leaves_off_accents_without_a_warning(caplog):
    renderer = TextRenderer([HersheyText()])
    assert np.array_equal(renderer.mask("José Müller", 32), renderer.mask("Jose Muller", 32))
    assert not warnings(caplog)


def test_decomposed_names_from_a_mac_are_composed_first():
    renderer = TextRenderer()
    assert np.array_equal(
        renderer.mask(unicodedata.normalize("NFD", "José"), 32),
        renderer.mask(unicodedata.normalize("NFC", "José"), 32),
    )


def test_a_text_is_rendered_once_and_read_only():
    renderer = TextRenderer()
    mask = renderer.mask("Ann", 32)
    assert renderer.mask("Ann", 32) is mask
    assert renderer.mask("Ann", 33) is not mask
    with pytest.raises(ValueError, match="read-only"):
        mask[0, 0] = 1


@settings(max_examples=60)
@given(st.text(st.characters(max_codepoint=0x1FAFF), max_size=12), st.integers(10, 60))
def test_any_text_is_a_mask_with_the_height_of_the_line(text, height_px):
    renderer = TextRenderer([OpenCvText(), HersheyText()] if OpenCvText.available() else [HersheyText()])
    mask = renderer.mask(text, height_px, BOLD)
    assert mask.dtype == np.uint8 and mask.shape[0] == height_px and mask.shape[1] >= 1


@pytest.mark.parametrize("text", ["😀 ok", "👩‍👩‍👧", "\udce9", "a\nb", "", "\u200f", "\U0010ffff"])
def test_odd_texts_do_no_harm(text):
    assert TextRenderer().mask(text, 24).shape[0] == 24


def test_right_to_left_names_are_reversed_as_a_whole():
    assert visual_order("Ann") == "Ann"
    assert visual_order("אבג") == "גבא"
    assert visual_order("Ann אבג 12") == "Ann גבא 12"
    assert visual_order("אב (גד) 12") == "12 (דג) בא"
    assert sorted(visual_order("שָׁלוֹם a")) == sorted("שָׁלוֹם a")


@given(st.text("אבגab12 ()ם", max_size=15))
def test_visual_order_loses_no_letter(text):
    swapped = str.maketrans(")", "(")
    assert sorted(visual_order(text).translate(swapped)) == sorted(text.translate(swapped))


def test_scripts_have_names():
    assert [script_of(c) for c in "张Жह가😀"] == [
        "CJK",
        "CYRILLIC",
        "DEVANAGARI",
        "HANGUL",
        "emoji and symbols",
    ]
    assert needs_joining("م") and needs_joining("ह") and not needs_joining("א") and not needs_joining("张")
    assert "fonts-noto-cjk" in fix_for("HANGUL")
