"""The catalogue: what it accepts, and what it says to what it does not."""

import hashlib
import re
from pathlib import Path

import pytest
import yaml

from app.errors import ModelError
from app.models.built_engines import engines_built_from
from app.models.catalog import read_catalog
from app.models.entry import MY_MODELS, FileState
from app.models.families import can_run
from app.models.http_get import check_address
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


def test_entries_are_read_with_their_files_beside_the_catalogue(tmp_path):
    found = catalog(tmp_path, finder=DETECTOR, teller=EMBEDDER)
    finder = found.require("finder", "detection")
    assert finder.file == tmp_path / "net.onnx"
    assert finder.min_sizes == ((16, 32), (64, 128), (256, 512))
    teller = found.require("teller", "embedding")
    assert (teller.crop, teller.dimensions, teller.threshold) == ((96, 112), 128, 0.4)
    assert teller.preprocessing.channels == "rgb"
    assert finder.commercial_use and not finder.built_in
    assert (finder.url, finder.size_bytes, finder.figures, finder.card) == ("", None, {}, "")


def test_a_detector_has_a_least_score_of_its_own_or_that_of_its_family(tmp_path):
    scrfd = {key: value for key, value in DETECTOR.items() if key != "min_sizes"}
    found = catalog(tmp_path, usual=DETECTOR, own={**DETECTOR, "min_score": 0.7}, low={**scrfd, "family": "scrfd"})
    assert {name: entry.min_score for name, entry in found.entries.items()} == {"usual": 0.6, "own": 0.7, "low": 0.5}
    for wrong in (0, 7):
        with pytest.raises(ModelError, match=f"'own': min_score must be above 0 and at most 1, not {wrong}"):
            catalog(tmp_path, own={**DETECTOR, "min_score": wrong})
    with pytest.raises(ModelError, match="unknown: min_score"):
        catalog(tmp_path, teller={**EMBEDDER, "min_score": 0.7})


def test_what_else_is_known_of_a_model_is_read(tmp_path):
    more = {
        "url": "https://example.org/net.onnx",
        "size_bytes": 7,
        "commercial_use": False,
        "figures": {"LFW": "99 %"},
        "card": "docs/models.md",
        "notes": "small",
        "built_in": True,
    }
    finder = catalog(tmp_path, finder={**DETECTOR, **more}).require("finder")
    assert {key: getattr(finder, key) for key in more} == more
    assert finder.licence_text == "Apache-2.0: NON-COMMERCIAL use only"


def test_models_of_other_tasks_and_families_need_only_what_all_have(tmp_path):
    found = catalog(
        tmp_path,
        guesser=ATTRIBUTES,
        cropper={**ATTRIBUTES, "task": "quality", "crop": [112, 112]},
        finder={**{key: value for key, value in DETECTOR.items() if key != "min_sizes"}, "family": "argus"},
    )
    assert found.require("guesser").crop == (0, 0)
    assert found.require("cropper").crop == (112, 112)
    assert found.require("finder").min_sizes == ()


WHOLE = b"\x3a\x02\x0a\x00"
"""An ONNX file with a graph, and another hash than that of the entries."""

DESCRIPTION = {key: value for key, value in EMBEDDER.items() if key not in ("file", "sha256")}


def tables_of(page):
    """Header and rows of each table, as lists of cells."""
    blocks = re.findall(r"(?:^\|.*\|\n)+", page, re.MULTILINE)
    return [[[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()] for block in blocks]


@pytest.mark.parametrize(("title", "name"), [("embedder: ", "mobilefacenet"), ("detector", "retinaface_mnet025")])
def test_the_figures_of_built_in_models_are_those_of_their_card(title, name):
    """What is measured is a row's heading, and behind the figure stand words of its table's or column's heading."""
    entry = read_catalog(SHIPPED).require(name)
    page = (SHIPPED.parents[1] / entry.card).read_text(encoding="utf-8")
    (table,) = [table for table in tables_of(page) if table[0][0].startswith(title)]
    header, _, *rows = table
    assert list(entry.figures) == [row[0] for row in rows]
    for row in rows:
        told = entry.figures[row[0]]
        behind = [told[len(cell) :].strip() in f"{header[0]} {above}" for above, cell in columns(header, row, told)]
        assert any(behind), f"{row[0]}: {told}"


def columns(header, row, told):
    return [(above, cell) for above, cell in zip(header[1:], row[1:]) if cell and told.startswith(f"{cell} ")]


def test_an_entry_without_file_and_hash_only_describes_a_network(tmp_path):
    found = catalog(tmp_path, teller=EMBEDDER, brought=DESCRIPTION)
    assert set(found.entries) == {"teller"} and set(found.without_file) == {"brought"}
    assert found.find("brought").crop == (96, 112) and found.find("teller") is found.entries["teller"]
    for task in (None, "embedding"):
        with pytest.raises(ModelError, match=r"engines import FILE --like brought\n.*trained for this test"):
            found.require("brought", task)
        with pytest.raises(ModelError, match=r"'brougt'.*'brought'"):
            found.require("brougt", task)
    with pytest.raises(ModelError, match=r"'brougt'.*'brought'"):
        found.find("brougt")


def test_a_network_that_is_only_described_is_not_offered_for_another_task(tmp_path):
    found = catalog(tmp_path, finder=DETECTOR, brought=DESCRIPTION)
    with pytest.raises(ModelError, match=r"'brought'.* embedding.* detection.* finder$"):
        found.require("brought", "detection")


def test_a_network_that_goes_by_several_names_is_known_by_each(tmp_path):
    found = catalog(tmp_path, brought={**DESCRIPTION, "aliases": ["other", "third"]})
    assert {name: entry.name for name, entry in found.without_file.items()} == {
        name: name for name in ("brought", "other", "third")
    }
    assert found.find("third").crop == (96, 112)
    with pytest.raises(ModelError, match="'brought': aliases: there is a model 'teller' already"):
        catalog(tmp_path, teller=EMBEDDER, brought={**DESCRIPTION, "aliases": ["teller"]})
    with pytest.raises(ModelError, match="unknown: aliases"):
        catalog(tmp_path, teller={**EMBEDDER, "aliases": ["other"]})
    with pytest.raises(ModelError, match="aliases must be names"):
        catalog(tmp_path, brought={**DESCRIPTION, "aliases": [7]})


def test_whoever_has_a_described_network_may_call_his_own_by_its_name(tmp_path):
    (tmp_path / MY_MODELS).write_text(yaml.safe_dump({"brought": EMBEDDER}), encoding="utf-8")
    found = catalog(tmp_path, brought=DESCRIPTION)
    assert found.require("brought").sha256 == EMBEDDER["sha256"]


@pytest.mark.parametrize("key", ["file", "sha256"])
def test_a_file_without_hash_or_a_hash_without_file_is_a_mistake(tmp_path, key):
    with pytest.raises(ModelError, match=f"'half': {'sha256' if key == 'file' else 'file'} is missing"):
        catalog(tmp_path, half={**DESCRIPTION, key: EMBEDDER[key]})


def test_ones_own_models_are_more_than_descriptions(tmp_path):
    (tmp_path / MY_MODELS).write_text(yaml.safe_dump({"mine": DESCRIPTION}), encoding="utf-8")
    with pytest.raises(ModelError, match=r"my_models\.yaml.*'mine': file is missing"):
        catalog(tmp_path, teller=EMBEDDER).require("mine")


def test_a_slip_in_one_of_ones_own_models_leaves_the_others_alone(tmp_path):
    own = {"mine": {**DETECTOR, "divisor": 0}, "good": DETECTOR, "text": "none"}
    (tmp_path / MY_MODELS).write_text(yaml.safe_dump(own), encoding="utf-8")
    found = catalog(tmp_path, teller=EMBEDDER)
    assert set(found.entries) == {"teller", "good"} and set(found.invalid) == {"mine", "text"}
    for task in (None, "detection"):
        with pytest.raises(ModelError, match=r"my_models\.yaml.*'mine': divisor"):
            found.require("mine", task)


@pytest.mark.parametrize("side", [float("nan"), float("-inf"), 10**400], ids=["nan", "inf", "too large"])
def test_a_side_that_is_no_finite_number_breaks_its_own_entry_alone(tmp_path, side):
    (tmp_path / MY_MODELS).write_text(yaml.safe_dump({"mine": {**EMBEDDER, "crop": [side, 112]}}), encoding="utf-8")
    found = catalog(tmp_path, teller=EMBEDDER)
    assert set(found.entries) == {"teller"}
    assert f"{tmp_path / MY_MODELS}: model 'mine': crop must be a finite number, not" in found.invalid["mine"]


def test_of_two_models_of_one_name_the_shipped_one_is_used_and_the_other_told(tmp_path):
    (tmp_path / MY_MODELS).write_text(yaml.safe_dump({"teller": {**EMBEDDER, "threshold": 0.9}}), encoding="utf-8")
    found = catalog(tmp_path, teller=EMBEDDER)
    assert found.require("teller", "embedding").threshold == found.require("teller").threshold == EMBEDDER["threshold"]
    (error,) = found.errors
    assert error.startswith(f"{tmp_path / MY_MODELS}: model 'teller': ")


@pytest.mark.parametrize(
    ("content", "line", "fault"),
    [
        (b"mine:\n  task: detection\n family: scrfd\n", 3, "not valid YAML: expected <block end>"),
        (b"mine:\n  notes: gr\xfcn\n", 2, "not UTF-8"),
        (b"mine:\n  notes: \x00\n", 2, "not valid YAML: unacceptable character"),
        (b"mine:\n  notes: 2024-13-45\n", None, "not valid YAML: month"),
        (b"- mine\n", None, "expected one entry a model, found list"),
    ],
    ids=["indentation", "latin-1", "control character", "no date", "list"],
)
def test_a_slip_in_the_file_of_ones_own_models_is_told_in_one_line_and_leaves_the_shipped_ones(
    tmp_path, content, line, fault
):
    path = tmp_path / MY_MODELS
    path.write_bytes(content)
    found = catalog(tmp_path, teller=EMBEDDER)
    assert set(found.entries) == {"teller"} and found.require("teller", "embedding").name == "teller"
    (error,) = found.errors
    place = path if line is None else f"{path}:{line}"
    assert "\n" not in error and error.startswith(f"{place}: ") and fault in error
    for task in (None, "detection"):
        with pytest.raises(ModelError, match=f"^{re.escape(error)}$"):
            found.require("mine", task)


def test_a_catalogue_without_any_model_for_a_task_says_what_to_do(tmp_path):
    found = catalog(tmp_path, finder=DETECTOR)
    with pytest.raises(ModelError, match=r"catalog\.yaml.* embedding.*'teller'.*engines import"):
        found.require("teller", "embedding")
    with pytest.raises(ModelError, match="'finder' is for detection, not for embedding"):
        found.require("finder", "embedding")


def test_a_file_with_the_right_hash_is_accepted(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"weights")
    assert catalog(tmp_path, finder=DETECTOR).require("finder", "detection").verified_file() == tmp_path / "net.onnx"


def test_a_file_with_another_hash_is_refused_with_both_hashes(tmp_path):
    (tmp_path / "net.onnx").write_bytes(WHOLE)
    with pytest.raises(ModelError) as refused:
        catalog(tmp_path, finder=DETECTOR).require("finder", "detection").verified_file()
    assert DETECTOR["sha256"] in str(refused.value)
    assert hashlib.sha256(WHOLE).hexdigest() in str(refused.value)


def own(folder, **facts):
    """An entry of the user's own, beside a catalogue without any."""
    (folder / MY_MODELS).write_text(yaml.safe_dump({"mine": {**DETECTOR, **facts}}), encoding="utf-8")
    return catalog(folder).require("mine")


def test_only_for_a_whole_network_of_the_user_s_the_hash_may_be_written_anew(tmp_path):
    (tmp_path / "net.onnx").write_bytes(WHOLE)
    with pytest.raises(ModelError, match=rf"write the found hash into {re.escape(str(tmp_path / MY_MODELS))}"):
        own(tmp_path).verified_file()
    for facts in ({"built_in": True}, {"url": "https://a.org/b"}):
        with pytest.raises(ModelError) as refused:
            catalog(tmp_path, finder={**DETECTOR, **facts}).require("finder").verified_file()
        assert "write" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "damage"), [(b"", "it is empty"), (WHOLE[:-1], "a part of it is missing")], ids=["empty", "cut"]
)
def test_of_a_damaged_file_that_is_told_and_how_to_get_it_back(tmp_path, content, damage):
    (tmp_path / "net.onnx").write_bytes(content)
    again = f"{program()} engines import FILE --name mine --replace"
    ways = {
        "git checkout -- engines": catalog(tmp_path, finder={**DETECTOR, "built_in": True}).require("finder"),
        "engines pull finder": catalog(tmp_path, finder={**DETECTOR, "url": "https://a.org/b"}).require("finder"),
        "put the file there": catalog(tmp_path, finder=DETECTOR).require("finder"),
        again: own(tmp_path),
    }
    for way, entry in ways.items():
        with pytest.raises(ModelError) as refused:
            entry.verified_file()
        told, cure = str(refused.value).splitlines()
        assert f"{entry.name!r} is damaged: {entry.file}: " in told and damage in told
        assert way in cure and "hash" not in cure


def test_a_missing_file_is_named_with_the_way_to_get_it(tmp_path):
    ways = {"git checkout": {"built_in": True}, "engines pull finder": {"url": "https://a.org/b"}, "put the file": {}}
    for way, more in ways.items():
        entry = catalog(tmp_path, finder={**DETECTOR, **more}).require("finder", "detection")
        assert entry.file_state() is FileState.MISSING
        with pytest.raises(ModelError, match=rf"'finder' is missing.*net\.onnx\n.*trained for this test\n.*{way}"):
            entry.verified_file()


def test_the_way_to_a_model_for_non_commercial_use_names_the_option_that_it_takes(tmp_path):
    entry = catalog(tmp_path, finder={**DETECTOR, "url": "https://a.org/b", "commercial_use": False}).require("finder")
    assert entry.how_to_get == f"get it with: {program()} engines pull finder --accept-licence"


def test_an_unknown_name_gets_the_nearest_one_for_the_task(tmp_path):
    with pytest.raises(ModelError, match=r"'findr' for detection.*'finder'"):
        catalog(tmp_path, finder=DETECTOR, teller=EMBEDDER).require("findr", "detection")


def test_an_unknown_name_for_any_task_gets_the_nearest_one(tmp_path):
    with pytest.raises(ModelError, match=r"'teler'.*'teller'"):
        catalog(tmp_path, finder=DETECTOR, teller=EMBEDDER).require("teler")


def test_a_model_for_another_task_is_not_accepted(tmp_path):
    with pytest.raises(ModelError, match=r"'teller'.* embedding.* detection.* finder$"):
        catalog(tmp_path, finder=DETECTOR, teller=EMBEDDER).require("teller", "detection")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"family": None}, "family is missing"),
        ({"colour": "red"}, "unknown: colour"),
        ({"mean": [1, 2]}, "mean must be 3 numbers"),
        ({"channels": "gray"}, "channels must be bgr or rgb, not 'gray'"),
        ({"task": "guess"}, "task must be detection or embedding or .* or quality, not 'guess'"),
        ({"divisor": "one"}, "divisor must not be 'one'"),
        ({"min_sizes": 16}, "min_sizes must not be 16"),
        ({"min_sizes": [["a"]]}, "min_sizes must be lists of whole numbers"),
        ({"divisor": 0}, "divisor must not be 0"),
        ({"divisor": True}, "divisor must not be True"),
        ({"sha256": "abc"}, "sha256 must be 64 hexadecimal digits"),
        ({"size_bytes": -1}, "size_bytes must be a number of bytes, not -1"),
        ({"size_bytes": "1 MB"}, "size_bytes must not be '1 MB'"),
        ({"commercial_use": "no"}, "commercial_use must not be 'no'"),
        ({"figures": {"LFW": 99}}, "figures must be lines 'what: text'"),
        ({"crop": [1, 1]}, "unknown: crop"),
        ({"divisor": float("nan")}, "divisor must be a finite number, not nan"),
        ({"divisor": 10**400}, "divisor must be a finite number"),
        ({"mean": [104, float("inf"), 123]}, "mean must be a finite number, not inf"),
        ({"mean": [104, 10**400, 123]}, "mean must be a finite number"),
        ({"min_score": float("nan")}, "min_score must be a finite number"),
        ({"min_sizes": [[10**400, 32], [64], [256]]}, "min_sizes must be a finite number"),
        ({"size_bytes": 10**400}, "size_bytes must be a finite number"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_faulty_entry_is_named_with_its_fault(tmp_path, change, complaint):
    with pytest.raises(ModelError, match=f"catalog.yaml: model 'finder': {complaint}"):
        catalog(tmp_path, finder={**DETECTOR, **change})


@pytest.mark.parametrize("content", ["", "[1, 2]", "a: [", "finder: 3"], ids=str)
def test_a_file_that_is_no_catalogue_is_refused(tmp_path, content):
    path = tmp_path / "catalog.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ModelError, match=r"catalog\.yaml"):
        read_catalog(path)


def test_a_missing_catalogue_says_where_to_start_the_program(tmp_path):
    with pytest.raises(ModelError, match="start the program in its own folder"):
        read_catalog(tmp_path / "nowhere.yaml")


def test_engines_of_a_model_with_an_odd_name_are_found(tmp_path):
    found = catalog(tmp_path, net={**DETECTOR, "file": "net[1].onnx"})
    (tmp_path / "net[1].fp16.engine").write_bytes(b"")
    assert [path.name for path in engines_built_from(found.require("net"), found)] == ["net[1].fp16.engine"]


def test_engines_of_a_model_are_told_from_those_of_a_longer_name(tmp_path):
    found = catalog(tmp_path, net={**DETECTOR, "file": "net.onnx"}, net_large={**DETECTOR, "file": "net_large.onnx"})
    for name in ("net.fp16.engine", "net-old.engine", "net.engine", "net_large.fp16.engine", "other.engine"):
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in engines_built_from(found.require("net"), found)] == ["net.fp16.engine"]
    assert [path.name for path in engines_built_from(found.require("net_large"), found)] == ["net_large.fp16.engine"]


@pytest.mark.parametrize("entry", read_catalog(SHIPPED).entries.values(), ids=lambda entry: entry.name)
def test_every_model_of_the_catalogue_can_be_had(entry):
    if entry.built_in:
        assert entry.file_state() is FileState.VALID
        assert (SHIPPED.parent.parent / entry.card).is_file()
    else:
        assert entry.file == SHIPPED.parent / f"{entry.name}.onnx"
        check_address(entry.url)
    assert entry.commercial_use or "InsightFace" in entry.licence


def test_every_file_and_hash_of_the_catalogue_is_another():
    entries = list(read_catalog(SHIPPED).entries.values())
    for values in (
        [entry.file for entry in entries],
        [entry.sha256 for entry in entries],
        [e.url for e in entries[2:]],
    ):
        assert len(set(values)) == len(values)


def test_the_models_that_come_with_the_program_are_the_default_and_say_what_they_take():
    found, models = read_catalog(SHIPPED), ModelSettings()
    inputs, outputs = describe_network(found.require(models.detector, "detection"))
    assert inputs == ("input ? x 3 x ? x ? float32",) and len(outputs) == 3
    inputs, outputs = describe_network(found.require(models.embedder, "embedding"))
    assert (inputs, outputs) == (("input ? x 3 x 112 x 112 float32",), ("embedding ? x 128 float32",))


def test_a_model_that_cannot_be_run_yet_names_the_families_that_can(tmp_path):
    unheard_of = {"finder": {**DETECTOR, "family": "argus"}, "teller": {**EMBEDDER, "family": "delphi"}}
    for entry in unheard_of.values():
        entry.pop("min_sizes", None)
    found = catalog(tmp_path, **unheard_of)
    assert not any(can_run(entry) for entry in found.entries.values())
    models = ModelSettings(catalog=found.path, detector="finder", embedder="teller")
    with pytest.raises(ModelError, match=r"family 'argus', which this version cannot run; .* that work: .*retinaface"):
        ModelLoader(Settings(models=models)).open_detector()
    with pytest.raises(ModelError, match=r"family 'delphi', which this version cannot run; .* that work: .*arcface"):
        ModelLoader(Settings(models=models)).open_embedder()
