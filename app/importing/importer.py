"""From a file that somebody brought to a model that can be chosen by name: proved first, then installed at once."""

from __future__ import annotations

import contextlib
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple

import numpy as np

from app.errors import ModelError
from app.importing.comparing import largest_difference, require_equal
from app.importing.drafts import (
    COMPARED_SIZE,
    Draft,
    Report,
    Wishes,
    draft_from_checkpoint,
    draft_from_onnx,
    draft_from_wts,
    require_known_family,
)
from app.importing.measuring import KNOWN_ANCHORS, known_anchors, measured_anchors, network_input
from app.importing.my_models import NameTakenError, check_name, install_model, name_for, require_space
from app.importing.onnx_file import FREE_SIZE
from app.importing.pack import WEIGHTS, is_pack, other_files, unpacked
from app.importing.reshaping import answers, is_fixed_to_another, reshaped, with_free_size
from app.inference.batching import run_in_batches
from app.inference.onnx import OnnxEngine
from app.vision.catalog import MY_MODELS, Catalog, ModelEntry, read_catalog, sha256_of
from app.vision.http_get import megabytes
from app.vision.model_store import install
from app.vision.recognising import bind_outputs

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
    if wishes.name:
        raise ModelError(f"{path} is a pack of several networks, which keep their own names: leave --name out")
    _require_applicable(path, "pack", wishes)
    imported: List[Imported] = []
    skipped: List[Skipped] = []
    with unpacked(path) as files:
        for number, file in enumerate(files):
            report(f"{file.name}:")
            try:
                imported.append(_import_onnx(file, f"{file.name} of {path.name}", catalog_path, wishes, report))
            except KeyboardInterrupt:
                left = [*(network.file for network in skipped), *(file.name for file in files[number:])]
                raise ModelError(_interrupted(path, imported, left)) from None
            except ModelError as error:
                reason = str(error).replace(f"{file}: ", "").replace(str(file), file.name)
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
    return f"{path}: interrupted; installed: {installed}; not installed: {', '.join(left)}"


def import_file(path: Path, catalog_path: Path, wishes: Wishes, report: Report) -> Imported:
    """One checkpoint, `.wts` or ONNX file."""
    kind = kind_of(path)
    _require_applicable(path, kind, wishes)
    if kind == "onnx":
        return _import_onnx(path, path.name, catalog_path, wishes, report)
    name = _checked_name(path.stem, catalog_path, wishes)
    report(f"reading {path.name}, {megabytes(path.stat().st_size)}")
    draft_from = draft_from_wts if kind == "wts" else draft_from_checkpoint
    draft = draft_from(path, wishes, report)
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
        raise ModelError(f"{path}: it is empty")
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
    known = _known_by_hash(file, read_catalog(catalog_path), wishes)
    if known is not None:
        report(f"it is the file that the catalogue calls {known.name!r}: {known.licence_text}")
        install(known, str(file))
        return Imported(known, known.family, (known.notes,) if known.notes else ())
    name = _checked_name(file.stem, catalog_path, wishes)
    draft = draft_from_onnx(file, wishes, catalog_path.with_name(MY_MODELS))
    return _install(draft, file, name, source, catalog_path, wishes, report)


def _known_by_hash(file: Path, catalog: Catalog, wishes: Wishes) -> Optional[ModelEntry]:
    """The shipped catalogue's own entry for exactly this file, unless it is wanted in another form."""
    if wishes.name or wishes.batch is not None or wishes.size is not None:
        return None
    sha256 = sha256_of(file)
    entries = [
        entry
        for entry in catalog.entries.values()
        if entry.sha256 == sha256 and entry.url and wishes.family in ("", entry.family)
    ]
    return entries[0] if entries else None


def _checked_name(stem: str, catalog_path: Path, wishes: Wishes) -> str:
    """Told before the networks run, not after."""
    catalog = read_catalog(catalog_path)
    name = wishes.name or name_for(stem, catalog)
    check_name(name, catalog, wishes.replace)
    return name


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
    with _workplace(catalog_path.parent) as place:
        made = place / "made.onnx"
        made.write_bytes(draft.content)
        with _opened(made) as engine, _opened(original or made) as first:
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
            facts, remarks = _completed_facts(draft, engine, catalog_path.with_name(MY_MODELS), report)
        identity = {"task": draft.task, "family": draft.family, "file": f"{name}.onnx", "sha256": sha256_of(made)}
        note = f"Imported from {source}; largest difference from {draft.compared_with}: {difference:.1g}."
        provenance = {"licence": wishes.licence, "source": source, "notes": note}
        catalog = read_catalog(catalog_path)
        check_name(name, catalog, wishes.replace)
        install_model(catalog, name, made, {**identity, **facts, **provenance})
    return Imported(read_catalog(catalog_path).named(name), draft.title, (*draft.remarks, *remarks))


@contextlib.contextmanager
def _workplace(folder: Path) -> Iterator[Path]:
    """A folder on the same disk as the models, so that the finished file gets its place in one step."""
    try:
        with tempfile.TemporaryDirectory(prefix=".import-", dir=folder) as place:
            yield Path(place)
    except OSError as error:
        raise ModelError(f"{folder} cannot be written to: {error.strerror}") from error


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[OnnxEngine]:
    engine = OnnxEngine(path)
    try:
        yield engine
    finally:
        engine.close()


def _difference(draft: Draft, engine: OnnxEngine, first: OnnxEngine, size: Optional[Tuple[int, int]]) -> float:
    """Largest difference between what was made and what it was made from, on two pictures drawn by lot."""
    shape = first.inputs[0].shape
    wished = None if size == FREE_SIZE or draft.reference else size
    width, height = wished or COMPARED_SIZE
    lengths = (shape[0] or 2, 3, shape[2] or height, shape[3] or width)
    images = np.random.default_rng(0).uniform(-1, 1, lengths).astype(np.float32)
    if draft.task == "detection":
        images *= 100  # detectors see pixel values
    expected = draft.reference(images) if draft.reference else answers(first, images)
    return largest_difference(expected, answers(engine, images))


def _completed_facts(
    draft: Draft, engine: OnnxEngine, my_models: Path, report: Report
) -> Tuple[Dict[str, Any], List[str]]:
    """The entry's facts, with what only a running network tells, and what the user should know of them."""
    facts, remarks = dict(draft.facts), []
    if draft.family == "retinaface":
        facts["min_sizes"] = [list(sides) for sides in _anchors(draft, engine, report)]
    if draft.task == "embedding":
        facts["threshold"] = CAUTIOUS_THRESHOLD
        remarks.append(
            f"its threshold is not known: {CAUTIOUS_THRESHOLD} is a cautious guess; docs/embedders.md has those of "
            f"some public networks. Measure it: python -m app evaluate verification --help; change it in {my_models}"
        )
    return facts, remarks


def _anchors(draft: Draft, engine: OnnxEngine, report: Report) -> Tuple[Tuple[int, ...], ...]:
    """The anchors' sizes, which stand nowhere in a network, measured on drawn faces."""
    binding = bind_outputs("retinaface", engine)
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
