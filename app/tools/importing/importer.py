"""From a file that somebody brought to a model that can be chosen by name: proved first, then installed at once."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple

import numpy as np

from app.errors import ModelError
from app.inference.engine import run_in_batches
from app.inference.onnx import OnnxEngine
from app.inference.onnx_damage import EMPTY
from app.models.catalog import Catalog, read_catalog, read_entry
from app.models.entry import MY_MODELS, ModelEntry, sha256_of
from app.models.families import DETECTORS
from app.models.store import install
from app.settings import DetectionSettings
from app.text import megabytes, program
from app.tools.importing.comparing import largest_difference, require_equal
from app.tools.importing.drafts import (
    COMPARED_SIZE,
    Draft,
    Report,
    Wishes,
    draft_from_checkpoint,
    draft_from_onnx,
    draft_from_wts,
    require_known_family,
    with_known_facts,
)
from app.tools.importing.known_networks import How, Known, known_by_hash, known_by_name, terms
from app.tools.importing.measuring import KNOWN_ANCHORS, known_anchors, measured_anchors, network_input
from app.tools.importing.my_models import (
    NameTakenError,
    check_name,
    install_model,
    is_in_place,
    name_for,
    require_space,
    write_model_file,
)
from app.tools.importing.onnx_file import FREE_SIZE
from app.tools.importing.pack import WEIGHTS, is_pack, other_files, unpacked
from app.tools.importing.reshaping import answers, is_fixed_to_another, reshaped, with_free_size
from app.vision.model_outputs import match_outputs

CAUTIOUS_THRESHOLD = 0.4
"""For an embedder of which nothing is known: strangers are rather taken for strangers."""

_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


@dataclass(frozen=True)
class Imported:
    """What came of one file."""

    entry: ModelEntry
    title: str
    remarks: Tuple[str, ...]


@dataclass(frozen=True)
class Skipped:
    """A network of a pack that was left out."""

    file: str
    reason: str
    is_there: bool = False
    """A model of its name is installed already."""
    is_network: bool = True


def import_pack(path: Path, catalog_path: Path, wishes: Wishes, report: Report) -> Tuple[List[Imported], List[Skipped]]:
    """Every network of the pack that can be used; what cannot be is told, and does not stop the others."""
    if wishes.name or wishes.like:
        option = "--name" if wishes.name else "--like"
        raise ModelError(f"{path} is a pack of several networks, which keep their own names: leave {option} out")
    _require_applicable(path, "pack", wishes)
    imported: List[Imported] = []
    skipped: List[Skipped] = []
    with unpacked(path) as files:
        for number, file in enumerate(files):
            report(f"{file.name}:")
            source = f"{file.name} of {path.name}"
            try:
                imported.append(_import_onnx(file, source, catalog_path, wishes, report))
            except KeyboardInterrupt:
                left = [*(network.file for network in skipped), *(file.name for file in files[number:])]
                raise KeyboardInterrupt(_interrupted(path, imported, left)) from None
            except ModelError as error:
                reason = str(error).replace(f"{source}: ", "").replace(f"{file}: ", "").replace(str(file), file.name)
                if isinstance(error, NameTakenError):
                    reason = "a model of its name is there already; --replace puts this one in its place"
                skipped.append(Skipped(file.name, reason, isinstance(error, NameTakenError)))
    return imported, [*skipped, *map(_other, other_files(path))]


def _other(name: str) -> Skipped:
    if PurePosixPath(name).suffix.lower() in WEIGHTS:
        return Skipped(name, "of a pack only ONNX networks are taken: unpack it and import it by itself")
    return Skipped(name, "no network", is_network=False)


def _interrupted(path: Path, imported: List[Imported], left: List[str]) -> str:
    installed = ", ".join(model.entry.name for model in imported) or "nothing"
    return f"{path}: installed: {installed}; not installed: {', '.join(left)}"


def import_file(path: Path, catalog_path: Path, wishes: Wishes, report: Report) -> Imported:
    """One checkpoint, `.wts` or ONNX file."""
    kind = kind_of(path)
    _require_applicable(path, kind, wishes)
    if kind == "onnx":
        return _import_onnx(path, path.name, catalog_path, wishes, report)
    name = _checked_name(path.stem, catalog_path, wishes, report)
    report(f"reading {path.name}, {megabytes(path.stat().st_size)}")
    draft_from = draft_from_wts if kind == "wts" else draft_from_checkpoint
    known = _known(path, read_catalog(catalog_path), wishes)
    draft = with_known_facts(path, draft_from(path, wishes, report), known, report)
    name = _name_of_its_own(name, draft, catalog_path, wishes, report)
    return _install(draft, None, name, path.name, catalog_path, wishes, report)


def _require_applicable(path: Path, kind: str, wishes: Wishes) -> None:
    """An option that would do nothing is refused, since whoever gives it expects something of it."""
    require_known_family(wishes.family)
    if wishes.slope is not None and kind in ("onnx", "pack"):
        raise ModelError(f"{path}: --activation is for checkpoints and .wts files; an ONNX network names its own")


def kind_of(path: Path) -> str:
    """`pack`, `checkpoint`, `wts` or `onnx`, by what is in the file rather than by what it is called."""
    try:
        with path.open("rb") as file:
            beginning = file.read(64)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    if not beginning:
        raise ModelError(f"{path}: {EMPTY}")
    if zipfile.is_zipfile(path):
        return _kind_of_zip(path)
    if beginning.startswith(_PICKLES):
        return "checkpoint"
    if beginning.split(b"\n", 1)[0].strip().isdigit():
        return "wts"
    if path.suffix.lower() == ".onnx":
        return "onnx"
    if beginning.startswith(b"PK"):
        raise ModelError(f"{path}: this is a zip file or PyTorch checkpoint whose end is missing: is it complete?")
    raise ModelError(
        f"{path}: this is neither a PyTorch checkpoint (.pth, .ckpt, .pt), nor a .wts file, nor an ONNX network, nor a "
        "zip file of ONNX networks"
    )


def _kind_of_zip(path: Path) -> str:
    if is_pack(path):
        return "pack"
    with zipfile.ZipFile(path) as archive:
        if any(PurePosixPath(name).name == "data.pkl" for name in archive.namelist()):
            return "checkpoint"
    others = other_files(path)
    weights = [name for name in others if PurePosixPath(name).suffix.lower() in WEIGHTS]
    if weights:
        raise ModelError(f"{path}: this zip file holds {', '.join(weights)}: unpack it and import that file")
    if not others:
        raise ModelError(f"{path}: there are no files in this zip file")
    raise ModelError(f"{path}: this zip file holds neither ONNX networks nor a PyTorch checkpoint")


def _import_onnx(file: Path, source: str, catalog_path: Path, wishes: Wishes, report: Report) -> Imported:
    catalog = read_catalog(catalog_path)
    same = _published(file, catalog, wishes)
    if same is not None:
        report(f"it is the file that the catalogue calls {same.name!r}: {same.licence_text}")
        install(same, str(file))
        return Imported(same, same.family, (same.notes,) if same.notes else ())
    name = _checked_name(file.stem, catalog_path, wishes, report, file)
    known = _known(file, catalog, wishes)
    draft = with_known_facts(file, draft_from_onnx(file, wishes), known, report)
    name = _name_of_its_own(name, draft, catalog_path, wishes, report)
    if is_in_place(file, catalog, name):
        draft = _left_as_it_is(draft, file, wishes)
    return _install(draft, file, name, source, catalog_path, wishes, report)


def _left_as_it_is(draft: Draft, file: Path, wishes: Wishes) -> Draft:
    """Of a file that lies among the models already: it gets an entry, and is never written over."""
    if wishes.batch is not None or wishes.size is not None:
        raise ModelError(f"{file}: what is to be made of it would be written over it: choose another name with --name")
    content = file.read_bytes()
    if content == draft.content:
        return draft
    remark = "the file is left as it is, since it is in its place; under another --name it would be written anew"
    return dataclasses.replace(draft, content=content, remarks=[*draft.remarks, remark])


def _published(file: Path, catalog: Catalog, wishes: Wishes) -> Optional[ModelEntry]:
    """The entry that this file can be installed as, unless it is wanted in another form."""
    if wishes.name or wishes.like or wishes.batch is not None or wishes.size is not None:
        return None
    known = known_by_hash(file, catalog, wishes.family)
    return known.entry if known and known.entry.url else None


def _known(file: Path, catalog: Catalog, wishes: Wishes) -> Optional[Known]:
    """The entry that says what the file does not."""
    if not wishes.like:
        return known_by_hash(file, catalog, wishes.family) or known_by_name(file.stem, catalog)
    return Known(catalog.without_file.get(wishes.like) or catalog.find(wishes.like), How.SAID)


def _checked_name(stem: str, catalog_path: Path, wishes: Wishes, report: Report, brought: Optional[Path] = None) -> str:
    """Told before the networks run, not after."""
    catalog = read_catalog(catalog_path)
    name = wishes.name or name_for(stem, catalog)
    namesake = catalog.entries.get(name[len("my_") :]) if name not in (wishes.name, stem) else None
    if namesake is not None:
        whose = "the built-in model's" if namesake.built_in else "that of another file in the catalogue"
        report(f"the name {namesake.name} is {whose}, so: {name}")
    elif name not in (wishes.name, stem):
        report(f"names are made of letters, digits, _ and - only, so: {name}")
    check_name(name, catalog, wishes.replace, brought)
    return name


def _name_of_its_own(name: str, draft: Draft, catalog_path: Path, wishes: Wishes, report: Report) -> str:
    """Another name where the catalogue describes another network by this one, unless the user insists."""
    catalog = read_catalog(catalog_path)
    is_that_network = draft.known is not None and draft.known.name == name
    if wishes.name or is_that_network or name not in catalog.without_file:
        return name
    report(f"the name {name} is that of another network in the catalogue, so: my_{name}")
    check_name(f"my_{name}", catalog, wishes.replace)
    return f"my_{name}"


def _install(
    draft: Draft,
    original: Optional[Path],
    name: str,
    source: str,
    catalog_path: Path,
    wishes: Wishes,
    report: Report,
) -> Imported:
    """`original`: the ONNX file that it was, if it was one."""
    report(f"recognised: {draft.title}")
    require_space(catalog_path.parent, 3 * len(draft.content))
    my_models = catalog_path.with_name(MY_MODELS)
    with _workplace(catalog_path.parent) as place:
        made = place / "made.onnx"
        write_model_file(made, draft.content)
        with _opened(made) as engine, _opened(original or made, as_it_is=True) as first:
            difference = _difference(draft, engine, first, wishes.size)
            require_equal(source, difference)
            report(f"compared with {draft.compared_with}: largest difference {difference:.1g}")
            if is_fixed_to_another(engine, wishes.size):
                made = with_free_size(made, place / "free.onnx", engine)
                report("size: taken out of the network, which answers at its own size as before")
        with _opened(made) as engine:
            if wishes.batch is not None or wishes.size is not None:
                made = reshaped(made, place / "reshaped.onnx", engine, wishes.batch, wishes.size)
                report("batch and size: as wished; pictures together get the answers that they get one by one")
            facts, remarks = _completed_facts(draft, engine, wishes.batch, my_models, report)
            identity = {"task": draft.task, "family": draft.family, "file": f"{name}.onnx", "sha256": sha256_of(made)}
            note = f"Imported from {source}; largest difference from {draft.compared_with}: {difference:.1g}."
            facts = {**identity, **facts, **terms(draft.known, wishes.licence, source), "notes": note}
        with _opened(made) as engine:
            _require_readable_answers(source, engine, read_entry(my_models, name, facts))
        catalog = read_catalog(catalog_path)
        check_name(name, catalog, wishes.replace, original)
        network = original if original and is_in_place(original, catalog, name) else made
        install_model(catalog, name, network, facts)
    return Imported(read_catalog(catalog_path).require(name), draft.title, (*draft.remarks, *remarks))


@contextlib.contextmanager
def _workplace(folder: Path) -> Iterator[Path]:
    """A folder on the same disk as the models, so that the finished file gets its place in one step."""
    try:
        place = tempfile.TemporaryDirectory(prefix=".import-", dir=folder)
    except OSError as error:
        raise ModelError(f"{folder} cannot be written to: {error.strerror}") from error
    with place as name:
        yield Path(name)


@contextlib.contextmanager
def _opened(path: Path, *, as_it_is: bool = False) -> Iterator[OnnxEngine]:
    engine = OnnxEngine(path, as_it_is=as_it_is)
    try:
        yield engine
    finally:
        engine.close()


def _require_readable_answers(source: str, engine: OnnxEngine, entry: ModelEntry) -> None:
    """Raises where the class of a detector's family would refuse what the network answers, as in an odd size."""
    if entry.task != "detection":
        return
    width, height = COMPARED_SIZE
    try:
        detector = DETECTORS[entry.family](engine, entry, DetectionSettings())
        detector.detect([np.zeros((height, width, 3), np.uint8)])
    except ModelError as error:
        raise ModelError(f"{source}: {error}") from error


def _difference(draft: Draft, engine: OnnxEngine, first: OnnxEngine, size: Optional[Tuple[int, int]]) -> float:
    """Largest difference between what was made and what it was made from, on two pictures drawn by lot."""
    shape = first.inputs[0].shape
    wished = None if size == FREE_SIZE or draft.reference else size
    width, height = wished or COMPARED_SIZE
    lengths = (shape[0] or 2, shape[1] or 3, shape[2] or height, shape[3] or width)
    images = np.random.default_rng(0).uniform(-1, 1, lengths).astype(np.float32)
    if draft.task == "detection":
        images *= 100  # detectors see pixel values
    expected = draft.reference(images) if draft.reference else answers(first, images)
    return largest_difference(expected, answers(engine, images))


def _completed_facts(
    draft: Draft, engine: OnnxEngine, batch: Optional[int], my_models: Path, report: Report
) -> Tuple[Dict[str, Any], List[str]]:
    """The entry's facts, with what only a running network tells, and what the user should know of them."""
    facts, remarks = dict(draft.facts), []
    pictures = (engine.inputs[0].shape[0] if batch is None else batch) or 1
    if draft.task == "detection" and pictures > 1:
        remarks.append(
            f"it always computes {pictures} pictures: with one camera that is {pictures} times the work; "
            "--batch dynamic takes any number"
        )
    if draft.family == "retinaface":
        facts["min_sizes"] = [list(sides) for sides in _anchors(draft, engine, report)]
    if draft.unsure:
        values = ", ".join(f"{key} {facts[key]}" for key in draft.unsure)
        remarks.append(
            f"usual values, which the file does not prove: {values}; if you know better, change them in {my_models}"
        )
    if draft.task == "embedding" and "threshold" not in facts:
        facts["threshold"] = CAUTIOUS_THRESHOLD
        remarks.append(
            f"its threshold is not known: {CAUTIOUS_THRESHOLD} is a cautious guess; docs/embedders.md has those of "
            f"some public networks. Measure it: {program()} evaluate verification --help; change it in {my_models}"
        )
    return facts, remarks


def _anchors(draft: Draft, engine: OnnxEngine, report: Report) -> Tuple[Tuple[int, ...], ...]:
    """The anchors' sizes, which stand nowhere in a network, measured on drawn faces."""
    binding = match_outputs("retinaface", engine)
    shape = engine.inputs[0].shape
    size = (shape[3] or 640, shape[2] or 480)
    facts = draft.facts

    def run(image: np.ndarray) -> Mapping[str, np.ndarray]:
        images = network_input(image, facts["channels"], facts["mean"], facts["divisor"])
        outputs = run_in_batches(engine, images)
        return {role: outputs[names[0]] for role, names in binding.items()}

    measured = measured_anchors(run, size)
    anchors = known_anchors(measured)
    told = ", ".join(f"{side:.0f}" for side in measured.values()) or "none"
    if anchors is None:
        anchors = KNOWN_ANCHORS[0]
        report(
            f"anchors: drawn faces do not decide their sizes (measured: {told}); the usual ones are taken: "
            f"{_sizes(anchors)}. If boxes come out too large or too small, change min_sizes in the entry"
        )
    else:
        report(f"anchors: {_sizes(anchors)}, measured on drawn faces ({told})")
    return anchors


def _sizes(anchors: Tuple[Tuple[int, ...], ...]) -> str:
    return ", ".join("/".join(map(str, sides)) for sides in anchors)
