"""From a file of the user to a model that can be chosen by name: checked first, then installed."""

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
from app.tools.importing.drafts import (
    COMPARED_SIZE,
    Draft,
    ImportOptions,
    draft_from_checkpoint,
    draft_from_onnx,
    draft_from_wts,
    require_known_family,
    with_known_facts,
)
from app.tools.importing.known_networks import KnownNetwork, MatchedBy, known_by_hash, known_by_name, terms
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
from app.tools.importing.references import largest_difference, require_equal
from app.tools.importing.reshaping import is_fixed_to_another, reshaped, run_network, with_free_size
from app.types import MessageCallback
from app.vision.model_outputs import match_outputs

CAUTIOUS_THRESHOLD = 0.4
"""For an embedder without a known threshold: high, so that strangers are not named."""

_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


@dataclass(frozen=True)
class Imported:
    """A model that was installed."""

    entry: ModelEntry
    title: str
    remarks: Tuple[str, ...]


@dataclass(frozen=True)
class Skipped:
    """A file of a pack that was not installed."""

    file: str
    reason: str
    is_installed: bool = False
    """A model with its name is already installed."""
    is_network: bool = True


def import_pack(
    path: Path, catalog_path: Path, options: ImportOptions, on_message: MessageCallback
) -> Tuple[List[Imported], List[Skipped]]:
    """Imports all networks of the pack that can be used, and reports the others."""
    if options.name or options.like:
        option = "--name" if options.name else "--like"
        raise ModelError(f"{path} is a pack of several networks, which keep their names: omit {option}")
    _require_applicable(path, "pack", options)
    imported: List[Imported] = []
    skipped: List[Skipped] = []
    with unpacked(path) as files:
        for number, file in enumerate(files):
            on_message(f"{file.name}:")
            source = f"{file.name} of {path.name}"
            try:
                imported.append(_import_onnx(file, source, catalog_path, options, on_message))
            except KeyboardInterrupt:
                installed = ", ".join(model.entry.name for model in imported) or "nothing"
                missing = ", ".join([*(network.file for network in skipped), *(file.name for file in files[number:])])
                message = f"{path}: installed: {installed}; not installed: {missing}"
                raise KeyboardInterrupt(message) from None
            except ModelError as error:
                reason = str(error).replace(f"{source}: ", "").replace(f"{file}: ", "").replace(str(file), file.name)
                if isinstance(error, NameTakenError):
                    reason = "a model with this name is installed; --replace replaces it"
                skipped.append(Skipped(file.name, reason, isinstance(error, NameTakenError)))
    for name in other_files(path):
        if PurePosixPath(name).suffix.lower() in WEIGHTS:
            skipped.append(Skipped(name, "only ONNX networks of a pack are imported: unpack it and import this file"))
        else:
            skipped.append(Skipped(name, "not a network", is_network=False))
    return imported, skipped


def import_file(path: Path, catalog_path: Path, options: ImportOptions, on_message: MessageCallback) -> Imported:
    """One checkpoint, `.wts` or ONNX file."""
    kind = kind_of(path)
    _require_applicable(path, kind, options)
    if kind == "onnx":
        return _import_onnx(path, path.name, catalog_path, options, on_message)
    name = _checked_name(path.stem, catalog_path, options, on_message)
    on_message(f"reading {path.name}, {megabytes(path.stat().st_size)}")
    draft_from = draft_from_wts if kind == "wts" else draft_from_checkpoint
    known = _known(path, read_catalog(catalog_path), options)
    draft = with_known_facts(path, draft_from(path, options, on_message), known, on_message)
    name = _name_of_its_own(name, draft, catalog_path, options, on_message)
    return _install(draft, None, name, path.name, catalog_path, options, on_message)


def _require_applicable(path: Path, kind: str, options: ImportOptions) -> None:
    """Refuses options that have no effect on this kind of file."""
    require_known_family(options.family)
    if options.slope is not None and kind in ("onnx", "pack"):
        raise ModelError(f"{path}: --activation is for checkpoints and .wts files; an ONNX network contains its own")


def kind_of(path: Path) -> str:
    """`pack`, `checkpoint`, `wts` or `onnx`, by the content of the file and not by its name."""
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
        raise ModelError(f"{path}: the end of this zip file or PyTorch checkpoint is missing: is it complete?")
    raise ModelError(
        f"{path}: not a PyTorch checkpoint (.pth, .ckpt, .pt), a .wts file, an ONNX network or a zip file of ONNX "
        "networks"
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
        raise ModelError(f"{path}: this zip file contains {', '.join(weights)}: unpack it and import that file")
    if not others:
        raise ModelError(f"{path}: this zip file is empty")
    raise ModelError(f"{path}: this zip file contains neither ONNX networks nor a PyTorch checkpoint")


def _import_onnx(
    file: Path, source: str, catalog_path: Path, options: ImportOptions, on_message: MessageCallback
) -> Imported:
    catalog = read_catalog(catalog_path)
    is_changed = options.name or options.like or options.batch is not None or options.size is not None
    published = None if is_changed else known_by_hash(file, catalog, options.family)
    if published is not None and published.entry.url:
        same = published.entry
        on_message(f"this file is {same.name!r} of the catalogue: {same.licence_text}")
        install(same, str(file))
        return Imported(same, same.family, (same.notes,) if same.notes else ())
    name = _checked_name(file.stem, catalog_path, options, on_message, file)
    known = _known(file, catalog, options)
    draft = with_known_facts(file, draft_from_onnx(file, options), known, on_message)
    name = _name_of_its_own(name, draft, catalog_path, options, on_message)
    if is_in_place(file, catalog, name):
        draft = _unchanged_in_place(draft, file, options)
    return _install(draft, file, name, source, catalog_path, options, on_message)


def _unchanged_in_place(draft: Draft, file: Path, options: ImportOptions) -> Draft:
    """For a file that is already in the folder of models: it gets an entry, and is never overwritten."""
    if options.batch is not None or options.size is not None:
        raise ModelError(f"{file}: the new network would overwrite it: choose another name with --name")
    content = file.read_bytes()
    if content == draft.content:
        return draft
    remark = "the file is not changed, since it is already in its folder; use --name to write a new file"
    return dataclasses.replace(draft, content=content, remarks=[*draft.remarks, remark])


def _known(file: Path, catalog: Catalog, options: ImportOptions) -> Optional[KnownNetwork]:
    """The entry with the facts that are not in the file."""
    if not options.like:
        return known_by_hash(file, catalog, options.family) or known_by_name(file.stem, catalog)
    return KnownNetwork(catalog.without_file.get(options.like) or catalog.find(options.like), MatchedBy.USER)


def _checked_name(
    stem: str, catalog_path: Path, options: ImportOptions, on_message: MessageCallback, brought: Optional[Path] = None
) -> str:
    """The name of the model, checked before the networks run."""
    catalog = read_catalog(catalog_path)
    name = options.name or name_for(stem, catalog)
    namesake = catalog.entries.get(name[len("my_") :]) if name not in (options.name, stem) else None
    if namesake is not None:
        owner = "a built-in model" if namesake.built_in else "another file in the catalogue"
        on_message(f"{namesake.name} is the name of {owner}; it will be installed as {name}")
    elif name not in (options.name, stem):
        on_message(f"names consist of letters, digits, _ and -; it will be installed as {name}")
    check_name(name, catalog, options.replace, brought)
    return name


def _name_of_its_own(
    name: str, draft: Draft, catalog_path: Path, options: ImportOptions, on_message: MessageCallback
) -> str:
    """Another name if the catalogue uses this one for another network, unless the user chose it."""
    catalog = read_catalog(catalog_path)
    is_that_network = draft.known is not None and draft.known.name == name
    if options.name or is_that_network or name not in catalog.without_file:
        return name
    on_message(f"{name} is the name of another network in the catalogue; it will be installed as my_{name}")
    check_name(f"my_{name}", catalog, options.replace)
    return f"my_{name}"


def _install(
    draft: Draft,
    original: Optional[Path],
    name: str,
    source: str,
    catalog_path: Path,
    options: ImportOptions,
    on_message: MessageCallback,
) -> Imported:
    """`original`: the ONNX file from which the draft was made, if it was one."""
    on_message(f"recognised as {draft.title}")
    require_space(catalog_path.parent, 3 * len(draft.content))
    my_models = catalog_path.with_name(MY_MODELS)
    with _temporary_folder(catalog_path.parent) as folder:
        made = folder / "made.onnx"
        write_model_file(made, draft.content)
        with _opened(made) as engine, _opened(original or made, unchanged=True) as first:
            difference = _difference(draft, engine, first, options.size)
            require_equal(source, difference)
            on_message(f"compared with {draft.compared_with}: largest difference {difference:.1g}")
            if is_fixed_to_another(engine, options.size):
                made = with_free_size(made, folder / "free.onnx", engine)
                on_message("size: now dynamic; the outputs at the original size are the same")
        with _opened(made) as engine:
            if options.batch is not None or options.size is not None:
                made = reshaped(made, folder / "reshaped.onnx", engine, options.batch, options.size)
                on_message("batch and size: changed; the outputs of a batch are those of single pictures")
            facts, remarks = _completed_facts(draft, engine, options.batch, my_models, on_message)
            identity = {"task": draft.task, "family": draft.family, "file": f"{name}.onnx", "sha256": sha256_of(made)}
            note = f"Imported from {source}; largest difference from {draft.compared_with}: {difference:.1g}."
            facts = {**identity, **facts, **terms(draft.known, options.licence, source), "notes": note}
        with _opened(made) as engine:
            _require_readable_answers(source, engine, read_entry(my_models, name, facts))
        catalog = read_catalog(catalog_path)
        check_name(name, catalog, options.replace, original)
        network = original if original and is_in_place(original, catalog, name) else made
        install_model(catalog, name, network, facts)
    return Imported(read_catalog(catalog_path).require(name), draft.title, (*draft.remarks, *remarks))


@contextlib.contextmanager
def _temporary_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder on the same disk as the models, so that the result can be moved with a rename."""
    try:
        temporary = tempfile.TemporaryDirectory(prefix=".import-", dir=folder)
    except OSError as error:
        raise ModelError(f"{folder} cannot be written to: {error.strerror}") from error
    with temporary as name:
        yield Path(name)


@contextlib.contextmanager
def _opened(path: Path, *, unchanged: bool = False) -> Iterator[OnnxEngine]:
    engine = OnnxEngine(path, unchanged=unchanged)
    try:
        yield engine
    finally:
        engine.close()


def _require_readable_answers(source: str, engine: OnnxEngine, entry: ModelEntry) -> None:
    """Raises if the family's class cannot decode the outputs of a detector, for example with an odd size."""
    if entry.task != "detection":
        return
    width, height = COMPARED_SIZE
    try:
        detector = DETECTORS[entry.family](engine, entry, DetectionSettings(min_score=entry.min_score))
        detector.detect([np.zeros((height, width, 3), np.uint8)])
    except ModelError as error:
        raise ModelError(f"{source}: {error}") from error


def _difference(draft: Draft, engine: OnnxEngine, first: OnnxEngine, size: Optional[Tuple[int, int]]) -> float:
    """Largest difference between the outputs of the new network and the original, for two random pictures."""
    shape = first.inputs[0].shape
    width, height = COMPARED_SIZE if size in (None, FREE_SIZE) or draft.reference else size
    lengths = (shape[0] or 2, shape[1] or 3, shape[2] or height, shape[3] or width)
    images = np.random.default_rng(0).uniform(-1, 1, lengths).astype(np.float32)
    if draft.task == "detection":
        images *= 100  # detectors take pixel values
    expected = draft.reference(images) if draft.reference else run_network(first, images)
    return largest_difference(expected, run_network(engine, images))


def _completed_facts(
    draft: Draft, engine: OnnxEngine, batch: Optional[int], my_models: Path, on_message: MessageCallback
) -> Tuple[Dict[str, Any], List[str]]:
    """The facts of the entry, including those that only a running network shows, and remarks for the user."""
    facts, remarks = dict(draft.facts), []
    pictures = (engine.inputs[0].shape[0] if batch is None else batch) or 1
    if draft.task == "detection" and pictures > 1:
        remarks.append(
            f"it always computes {pictures} pictures, {pictures} times the work with one camera; to change that: "
            "--batch dynamic"
        )
    if draft.family == "retinaface":
        facts["min_sizes"] = [list(sides) for sides in _anchors(draft, engine, on_message)]
    if draft.unsure:
        values = ", ".join(f"{key} {facts[key]}" for key in draft.unsure)
        remarks.append(
            f"usual values, not known from the file: {values}; if they are wrong, change them in {my_models}"
        )
    if draft.task == "embedding" and "threshold" not in facts:
        facts["threshold"] = CAUTIOUS_THRESHOLD
        remarks.append(
            f"unknown threshold: {CAUTIOUS_THRESHOLD} is a cautious guess; docs/embedders.md lists those of some "
            f"public networks. To measure it: {program()} evaluate verification --help; to change it: {my_models}"
        )
    return facts, remarks


def _anchors(draft: Draft, engine: OnnxEngine, on_message: MessageCallback) -> Tuple[Tuple[int, ...], ...]:
    """The sizes of the anchors, which are not part of the network, measured with drawn faces."""
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
    found = ", ".join(f"{side:.0f}" for side in measured.values()) or "none"
    if anchors is None:
        anchors = KNOWN_ANCHORS[0]
        on_message(
            f"anchors: {_anchors_text(anchors)}, the usual ones; the measurement is ambiguous ({found}). If boxes are "
            "too large or too small, change min_sizes in the entry"
        )
    else:
        on_message(f"anchors: {_anchors_text(anchors)}, measured with drawn faces ({found})")
    return anchors


def _anchors_text(anchors: Tuple[Tuple[int, ...], ...]) -> str:
    return ", ".join("/".join(map(str, sides)) for sides in anchors)
