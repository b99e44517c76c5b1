"""The catalogue of models: valid entries, and the errors for invalid ones."""

import hashlib
import re
from pathlib import Path

import pytest
import yaml

from app.errors import ModelError
from app.models.catalog import read_catalog
from app.models.download import check_address
from app.models.engines import engines_built_from
from app.models.entry import MY_MODELS, FileState
from app.models.families import can_run
from app.models.loading import ModelLoader, describe_network
from app.settings import ModelSettings, Settings
from app.text import program

SHIPPED = Path(__file__).parents[2] / "engines" / "catalog.yaml"

DETECTOR = {
    "task": "detection",
    "family": "retinaface",
    "file": "net.onnx",
    "sha256": hashlib.sha256(b"weights").hexdigest(),
    "channels": "bgr",
    "mean": [104, 117, 123],
    "divisor": 1,
    "min_sizes": [[16, 32], [64, 128], [256, 512]],
    "licence": "Apache-2.0",
    "source": "trained for this test",
}
EMBEDDER = {
    **{key: DETECTOR[key] for key in ("file", "sha256", "mean", "divisor", "licence", "source")},
    "task": "embedding",
    "family": "arcface",
    "channels": "rgb",
    "crop": [96, 112],
    "dimensions": 128,
    "threshold": 0.4,
}
ATTRIBUTES = {
    **{key: DETECTOR[key] for key in ("file", "sha256", "channels", "mean", "divisor", "licence", "source")},
    "task": "attributes",
    "family": "genderage",
}


def catalog(folder, **entries):
    path = folder / "catalog.yaml"
    path.write_text(yaml.safe_dump(entries), encoding="utf-8")
    return read_catalog(path)


def test_entries_are_read_with_their_files_next_to_the_catalogue(tmp_path):
    found = catalog(tmp_path, detector=DETECTOR, embedder=EMBEDDER)
    detector = found.require("detector", "detection")
    assert detector.file == tmp_path / "net.onnx"
    assert detector.min_sizes == ((16, 32), (64, 128), (256, 512))
    embedder = found.require("embedder", "embedding")
    assert (embedder.crop, embedder.dimensions, embedder.threshold) == ((96, 112), 128, 0.4)
    assert embedder.preprocessing.channels == "rgb"
    assert detector.commercial_use and not detector.built_in
    assert (detector.url, detector.size_bytes, detector.figures, detector.card) == ("", None, {}, "")


@pytest.mark.parametrize(("key", "default", "of_scrfd"), [("min_score", 0.6, 0.5), ("photo_score", 0.8, 0.6)])
def test_a_detector_has_its_own_scores_or_those_of_its_family(tmp_path, key, default, of_scrfd):
    scrfd = {key: value for key, value in DETECTOR.items() if key != "min_sizes"}
    found = catalog(tmp_path, plain=DETECTOR, own={**DETECTOR, key: 0.7}, low={**scrfd, "family": "scrfd"})
    scores = {name: getattr(entry, key) for name, entry in found.entries.items()}
    assert scores == {"plain": default, "own": 0.7, "low": of_scrfd}
    for wrong in (0, 7):
        with pytest.raises(ModelError, match=f"'own': {key}.* {wrong}$"):
            catalog(tmp_path, own={**DETECTOR, key: wrong})
    with pytest.raises(ModelError, match=f"unknown: {key}"):
        catalog(tmp_path, embedder={**EMBEDDER, key: 0.7})


def test_a_file_in_int8_is_read_and_checked_where_int8_is_asked_for(tmp_path):
    numbers = {"int8_file": "net_int8.onnx", "int8_sha256": hashlib.sha256(b"rounded").hexdigest().upper()}
    found = catalog(tmp_path, detector={**DETECTOR, **numbers})
    entry = found.require("detector")
    assert entry.int8_file == tmp_path / "net_int8.onnx"
    (tmp_path / "net.onnx").write_bytes(b"weights")
    (tmp_path / "net_int8.onnx").write_bytes(b"other")
    models = ModelSettings(catalog=found.path, detector="detector")
    loader = ModelLoader(Settings(models=models))
    assert loader.verified_file(entry) == tmp_path / "net.onnx"
    with pytest.raises(ModelError, match=r"net_int8\.onnx"):
        loader.with_models(precision="int8").verified_file(entry)
    (tmp_path / "net_int8.onnx").write_bytes(b"rounded")
    loader.with_models(precision="int8").verified_file(entry)
    for missing in numbers:
        with pytest.raises(ModelError, match=f"{missing} is missing"):
            catalog(tmp_path, detector={**DETECTOR, **{key: numbers[key] for key in numbers if key != missing}})


def test_optional_values_of_an_entry_are_read(tmp_path):
    more = {
        "url": "https://example.org/net.onnx",
        "size_bytes": 7,
        "commercial_use": False,
        "figures": {"LFW": "99 %"},
        "card": "docs/models.md",
        "notes": "small",
        "built_in": True,
    }
    detector = catalog(tmp_path, detector={**DETECTOR, **more}).require("detector")
    assert {key: getattr(detector, key) for key in more} == more
    assert detector.licence_text == "Apache-2.0: NON-COMMERCIAL use only"


def test_models_of_other_tasks_and_families_need_only_the_common_values(tmp_path):
    found = catalog(
        tmp_path,
        guesser=ATTRIBUTES,
        cropper={**ATTRIBUTES, "task": "quality", "crop": [112, 112]},
        detector={**{key: value for key, value in DETECTOR.items() if key != "min_sizes"}, "family": "argus"},
    )
    assert found.require("guesser").crop == (0, 0)
    assert found.require("cropper").crop == (112, 112)
    assert found.require("detector").min_sizes == ()


WHOLE = b"\x3a\x02\x0a\x00"
"""An ONNX file with a graph, and another hash than that of the entries."""

DESCRIPTION = {key: value for key, value in EMBEDDER.items() if key not in ("file", "sha256")}


def tables_of(page):
    """Header and rows of each table, as lists of cells."""
    blocks = re.findall(r"(?:^\|.*\|\n)+", page, re.MULTILINE)
    return [[[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()] for block in blocks]


@pytest.mark.parametrize(
    ("title", "name"),
    [("embedder: ", "mobilefacenet"), ("detector", "retinaface_mnet025"), ("`scrfd_500m`", "scrfd_500m")],
)
def test_the_figures_of_built_in_models_are_those_of_their_card(title, name):
    """A figure is named like its row; the words after its value are from the heading of its table or column."""
    entry = read_catalog(SHIPPED).require(name)
    page = (SHIPPED.parents[1] / entry.card).read_text(encoding="utf-8")
    (table,) = [table for table in tables_of(page) if table[0][0].startswith(title)]
    header, _, *rows = table
    assert list(entry.figures) == [row[0] for row in rows]
    for row in rows:
        figure = entry.figures[row[0]]
        behind = [figure[len(cell) :].strip() in f"{header[0]} {above}" for above, cell in columns(header, row, figure)]
        assert any(behind), f"{row[0]}: {figure}"


def columns(header, row, figure):
    return [(above, cell) for above, cell in zip(header[1:], row[1:]) if cell and figure.startswith(f"{cell} ")]


def test_an_entry_without_file_and_hash_cannot_be_run_or_downloaded(tmp_path):
    found = catalog(tmp_path, embedder=EMBEDDER, brought=DESCRIPTION)
    assert set(found.entries) == {"embedder"} and set(found.without_file) == {"brought"}
    assert found.find("brought").crop == (96, 112) and found.find("embedder") is found.entries["embedder"]
    for task in (None, "embedding"):
        with pytest.raises(ModelError, match="engines import FILE --like brought\n"):
            found.require("brought", task)
        with pytest.raises(ModelError, match=r"'brougt'.*'brought'"):
            found.require("brougt", task)
    with pytest.raises(ModelError, match=r"'brougt'.*'brought'"):
        found.find("brougt")


def test_a_model_without_a_file_is_not_suggested_for_another_task(tmp_path):
    found = catalog(tmp_path, detector=DETECTOR, brought=DESCRIPTION)
    with pytest.raises(ModelError, match=r"'brought'.* embedding.* detection.* detector$"):
        found.require("brought", "detection")


def test_a_model_without_a_file_is_found_by_each_alias(tmp_path):
    found = catalog(tmp_path, brought={**DESCRIPTION, "aliases": ["other", "third"]})
    assert {name: entry.name for name, entry in found.without_file.items()} == {
        name: name for name in ("brought", "other", "third")
    }
    assert found.find("third").crop == (96, 112)
    with pytest.raises(ModelError, match=r"'brought': aliases: .*'embedder'"):
        catalog(tmp_path, embedder=EMBEDDER, brought={**DESCRIPTION, "aliases": ["embedder"]})
    with pytest.raises(ModelError, match="unknown: aliases"):
        catalog(tmp_path, embedder={**EMBEDDER, "aliases": ["other"]})
    with pytest.raises(ModelError, match=r"aliases.*7"):
        catalog(tmp_path, brought={**DESCRIPTION, "aliases": [7]})


def test_the_user_s_own_model_may_have_the_name_of_one_without_a_file(tmp_path):
    (tmp_path / MY_MODELS).write_text(yaml.safe_dump({"brought": EMBEDDER}), encoding="utf-8")
    found = catalog(tmp_path, brought=DESCRIPTION)
    assert found.require("brought").sha256 == EMBEDDER["sha256"]


@pytest.mark.parametrize("key", ["file", "sha256"])
def test_a_file_without_hash_or_a_hash_without_file_is_an_error(tmp_path, key):
    with pytest.raises(ModelError, match=f"'half': {'sha256' if key == 'file' else 'file'} is missing"):
        catalog(tmp_path, half={**DESCRIPTION, key: EMBEDDER[key]})


def test_the_user_s_own_models_must_have_a_file(tmp_path):
    (tmp_path / MY_MODELS).write_text(yaml.safe_dump({"mine": DESCRIPTION}), encoding="utf-8")
    with pytest.raises(ModelError, match=r"my_models\.yaml.*'mine': file "):
        catalog(tmp_path, embedder=EMBEDDER).require("mine")


def test_an_error_in_one_of_the_user_s_own_models_leaves_the_others_usable(tmp_path):
    own = {"mine": {**DETECTOR, "divisor": 0}, "good": DETECTOR, "text": "none"}
    (tmp_path / MY_MODELS).write_text(yaml.safe_dump(own), encoding="utf-8")
    found = catalog(tmp_path, embedder=EMBEDDER)
    assert set(found.entries) == {"embedder", "good"} and set(found.invalid) == {"mine", "text"}
    for task in (None, "detection"):
        with pytest.raises(ModelError, match=r"my_models\.yaml.*'mine': divisor"):
            found.require("mine", task)


@pytest.mark.parametrize("side", [float("nan"), float("-inf"), 10**400], ids=["nan", "inf", "too large"])
def test_a_size_that_is_not_finite_is_an_error_of_its_own_entry_only(tmp_path, side):
    (tmp_path / MY_MODELS).write_text(yaml.safe_dump({"mine": {**EMBEDDER, "crop": [side, 112]}}), encoding="utf-8")
    found = catalog(tmp_path, embedder=EMBEDDER)
    assert set(found.entries) == {"embedder"}
    assert found.invalid["mine"].startswith(f"{tmp_path / MY_MODELS}:1: model 'mine': crop ")


def test_a_model_of_the_catalogue_takes_precedence_over_the_user_s_own_of_the_same_name(tmp_path):
    (tmp_path / MY_MODELS).write_text(yaml.safe_dump({"embedder": {**EMBEDDER, "threshold": 0.9}}), encoding="utf-8")
    found = catalog(tmp_path, embedder=EMBEDDER)
    assert (
        found.require("embedder", "embedding").threshold == found.require("embedder").threshold == EMBEDDER["threshold"]
    )
    (error,) = found.errors
    assert error.startswith(f"{tmp_path / MY_MODELS}:1: model 'embedder': ")


@pytest.mark.parametrize(
    ("content", "line", "fault"),
    [
        (b"mine:\n  task: detection\n family: scrfd\n", 3, "not valid YAML: expected <block end>"),
        (b"mine:\n  notes: gr\xfcn\n", 2, "not UTF-8"),
        (b"mine:\n  notes: \x00\n", 2, "not valid YAML: unacceptable character"),
        (b"mine:\n  notes: 2024-13-45\n", 2, "not valid YAML: month"),
        (b"mine: {}\nmine: {}\n", 2, "duplicate"),
        (b"- mine\n", 1, "key: value"),
    ],
    ids=["indentation", "latin-1", "control character", "no date", "duplicate", "list"],
)
def test_an_error_in_the_user_s_own_file_is_reported_with_its_line_and_leaves_the_catalogue_usable(
    tmp_path, content, line, fault
):
    path = tmp_path / MY_MODELS
    path.write_bytes(content)
    found = catalog(tmp_path, embedder=EMBEDDER)
    assert set(found.entries) == {"embedder"} and found.require("embedder", "embedding").name == "embedder"
    (error,) = found.errors
    assert "\n" not in error and error.startswith(f"{path}:{line}: ") and fault in error
    for task in (None, "detection"):
        with pytest.raises(ModelError, match=f"^{re.escape(error)}$"):
            found.require("mine", task)


def test_a_catalogue_without_any_model_for_a_task_is_reported(tmp_path):
    found = catalog(tmp_path, detector=DETECTOR)
    with pytest.raises(ModelError, match=r"catalog\.yaml.* embedding.*'embedder'.*engines import"):
        found.require("embedder", "embedding")
    with pytest.raises(ModelError, match=r"'detector' .*detection.*embedding"):
        found.require("detector", "embedding")


def test_a_file_with_the_right_hash_is_accepted(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"weights")
    assert (
        catalog(tmp_path, detector=DETECTOR).require("detector", "detection").verified_file() == tmp_path / "net.onnx"
    )


def test_a_file_with_another_hash_is_refused_with_both_hashes(tmp_path):
    (tmp_path / "net.onnx").write_bytes(WHOLE)
    with pytest.raises(ModelError) as refused:
        catalog(tmp_path, detector=DETECTOR).require("detector", "detection").verified_file()
    assert DETECTOR["sha256"] in str(refused.value)
    assert hashlib.sha256(WHOLE).hexdigest() in str(refused.value)


def own(folder, **facts):
    """An entry of the user's own, next to an empty catalogue."""
    (folder / MY_MODELS).write_text(yaml.safe_dump({"mine": {**DETECTOR, **facts}}), encoding="utf-8")
    return catalog(folder).require("mine")


def test_only_for_an_intact_file_of_the_user_s_own_changing_the_hash_is_suggested(tmp_path):
    (tmp_path / "net.onnx").write_bytes(WHOLE)
    with pytest.raises(ModelError, match=rf"hash into {re.escape(str(tmp_path / MY_MODELS))}"):
        own(tmp_path).verified_file()
    for facts in ({"built_in": True}, {"url": "https://a.org/b"}):
        with pytest.raises(ModelError) as refused:
            catalog(tmp_path, detector={**DETECTOR, **facts}).require("detector").verified_file()
        assert "hash into" not in str(refused.value)


@pytest.mark.parametrize(("content", "damage"), [(b"", "is empty"), (WHOLE[:-1], "incomplete")], ids=["empty", "cut"])
def test_a_damaged_file_is_reported_with_the_way_to_restore_it(tmp_path, content, damage):
    (tmp_path / "net.onnx").write_bytes(content)
    again = f"{program()} engines import FILE --name mine --replace"
    ways = {
        "git checkout -- engines": catalog(tmp_path, detector={**DETECTOR, "built_in": True}).require("detector"),
        "engines pull detector": catalog(tmp_path, detector={**DETECTOR, "url": "https://a.org/b"}).require("detector"),
        "save the file as": catalog(tmp_path, detector=DETECTOR).require("detector"),
        again: own(tmp_path),
    }
    for way, entry in ways.items():
        with pytest.raises(ModelError) as refused:
            entry.verified_file()
        error, advice = str(refused.value).splitlines()
        assert repr(entry.name) in error and str(entry.file) in error and damage in error
        assert way in advice and "hash" not in advice


def test_a_missing_file_is_named_with_the_way_to_get_it(tmp_path):
    ways = {
        "git checkout": {"built_in": True},
        "engines pull detector": {"url": "https://a.org/b"},
        "save the file": {},
    }
    for way, more in ways.items():
        entry = catalog(tmp_path, detector={**DETECTOR, **more}).require("detector", "detection")
        assert entry.file_state() is FileState.MISSING
        with pytest.raises(ModelError, match=rf"(?s)'detector' .*net\.onnx\n.*{way}"):
            entry.verified_file()


def test_the_command_for_a_non_commercial_model_accepts_its_licence(tmp_path):
    entry = catalog(tmp_path, detector={**DETECTOR, "url": "https://a.org/b", "commercial_use": False}).require(
        "detector"
    )
    assert entry.how_to_get.endswith(f"{program()} engines pull detector --accept-licence")


def test_a_similar_name_for_the_same_task_is_suggested(tmp_path):
    with pytest.raises(ModelError, match=r"'detektor' for detection.*'detector'"):
        catalog(tmp_path, detector=DETECTOR, embedder=EMBEDDER).require("detektor", "detection")


def test_a_similar_name_for_any_task_is_suggested(tmp_path):
    with pytest.raises(ModelError, match=r"'embeder'.*'embedder'"):
        catalog(tmp_path, detector=DETECTOR, embedder=EMBEDDER).require("embeder")


def test_a_model_for_another_task_is_not_accepted(tmp_path):
    with pytest.raises(ModelError, match=r"'embedder'.* embedding.* detection.* detector$"):
        catalog(tmp_path, detector=DETECTOR, embedder=EMBEDDER).require("embedder", "detection")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"family": None}, "family is missing"),
        ({"colour": "red"}, "unknown: colour"),
        ({"mean": [1, 2]}, "mean .*3"),
        ({"channels": "gray"}, "channels .*bgr or rgb.*'gray'"),
        ({"task": "guess"}, "task .*detection or embedding or .*'guess'"),
        ({"divisor": "one"}, "divisor .*'one'"),
        ({"min_sizes": 16}, "min_sizes .*16"),
        ({"min_sizes": [["a"]]}, "min_sizes .*a"),
        ({"divisor": 0}, "divisor .*0"),
        ({"divisor": True}, "divisor .*True"),
        ({"sha256": "abc"}, "sha256 .*64.*'abc'"),
        ({"size_bytes": -1}, "size_bytes .*-1"),
        ({"size_bytes": "1 MB"}, "size_bytes .*'1 MB'"),
        ({"commercial_use": "no"}, "commercial_use .*'no'"),
        ({"figures": {"LFW": 99}}, "figures .*99"),
        ({"crop": [1, 1]}, "unknown: crop"),
        ({"divisor": float("nan")}, "divisor .*finite.*nan"),
        ({"divisor": 10**400}, "divisor .*finite"),
        ({"mean": [104, float("inf"), 123]}, "mean .*finite.*inf"),
        ({"mean": [104, 10**400, 123]}, "mean .*finite"),
        ({"min_score": float("nan")}, "min_score .*finite"),
        ({"min_sizes": [[10**400, 32], [64], [256]]}, "min_sizes .*finite"),
        ({"size_bytes": 10**400}, "size_bytes .*finite"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_error_in_an_entry_is_reported_with_file_line_model_and_key(tmp_path, change, error):
    with pytest.raises(ModelError, match=rf"catalog\.yaml:1: model 'detector': {error}"):
        catalog(tmp_path, detector={**DETECTOR, **change})


@pytest.mark.parametrize("content", ["", "[1, 2]", "a: [", "detector: 3"], ids=str)
def test_a_file_that_is_not_a_catalogue_is_an_error(tmp_path, content):
    path = tmp_path / "catalog.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ModelError, match=r"catalog\.yaml"):
        read_catalog(path)


def test_a_missing_catalogue_is_named_with_its_setting(tmp_path):
    with pytest.raises(ModelError, match=r"nowhere\.yaml.*models\.catalog"):
        read_catalog(tmp_path / "nowhere.yaml")


def test_engines_of_a_model_with_an_odd_name_are_found(tmp_path):
    found = catalog(tmp_path, net={**DETECTOR, "file": "net[1].onnx"})
    (tmp_path / "net[1].fp16.engine").write_bytes(b"")
    assert [path.name for path in engines_built_from(found.require("net"), found)] == ["net[1].fp16.engine"]


def test_engines_of_a_model_with_a_longer_name_are_not_mixed_up(tmp_path):
    found = catalog(tmp_path, net={**DETECTOR, "file": "net.onnx"}, net_large={**DETECTOR, "file": "net_large.onnx"})
    for name in ("net.fp16.engine", "net-old.engine", "net.engine", "net_large.fp16.engine", "other.engine"):
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in engines_built_from(found.require("net"), found)] == ["net.fp16.engine"]
    assert [path.name for path in engines_built_from(found.require("net_large"), found)] == ["net_large.fp16.engine"]


@pytest.mark.parametrize("entry", read_catalog(SHIPPED).entries.values(), ids=lambda entry: entry.name)
def test_every_model_of_the_catalogue_is_built_in_or_has_a_valid_address(entry):
    if entry.built_in:
        assert entry.file_state() is FileState.VALID
        assert (SHIPPED.parent.parent / entry.card).is_file()
    else:
        assert entry.file == SHIPPED.parent / f"{entry.name}.onnx"
        check_address(entry.url)
    assert entry.commercial_use or entry.built_in or "InsightFace" in entry.licence


def test_no_two_models_of_the_catalogue_have_the_same_file_hash_or_address():
    entries = list(read_catalog(SHIPPED).entries.values())
    for values in (
        [entry.file for entry in entries],
        [entry.sha256 for entry in entries],
        [entry.url for entry in entries if not entry.built_in],
    ):
        assert len(set(values)) == len(values)


def test_the_default_models_are_built_in_and_have_the_expected_inputs_and_outputs():
    found, models = read_catalog(SHIPPED), ModelSettings()
    inputs, outputs = describe_network(found.require(models.detector, "detection"))
    assert inputs == ("input ? x 3 x ? x ? float32",) and len(outputs) == 3
    inputs, outputs = describe_network(found.require(models.embedder, "embedding"))
    assert (inputs, outputs) == (("input ? x 3 x 112 x 112 float32",), ("embedding ? x 128 float32",))


def test_a_model_of_an_unsupported_family_is_an_error_that_lists_the_supported_ones(tmp_path):
    unheard_of = {"detector": {**DETECTOR, "family": "argus"}, "embedder": {**EMBEDDER, "family": "delphi"}}
    for entry in unheard_of.values():
        entry.pop("min_sizes", None)
    found = catalog(tmp_path, **unheard_of)
    assert not any(can_run(entry) for entry in found.entries.values())
    models = ModelSettings(catalog=found.path, detector="detector", embedder="embedder")
    with pytest.raises(ModelError, match=r"'argus'.*retinaface"):
        ModelLoader(Settings(models=models)).open_detector()
    with pytest.raises(ModelError, match=r"'delphi'.*arcface"):
        ModelLoader(Settings(models=models)).open_embedder()
