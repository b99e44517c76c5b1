"""From a file to a model that runs: what is installed, and that nothing is when something is wrong."""

import shutil
import sys
import zipfile

import numpy as np
import pytest
import yaml
from made_networks import (
    graph,
    random_arrays,
    run_onnx,
    small_centerface,
    small_embedder,
    small_scrfd,
    trained_arrays,
    write_wts,
)
from shipped import ROOT

from app.errors import AppError, ModelError
from app.inference.onnx import OnnxEngine
from app.models.catalog import read_catalog
from app.models.loading import ModelLoader
from app.settings import DetectionSettings, ModelSettings, Settings
from app.tools.importing.architectures import dsfd_on_resnet, public_mobilefacenet, retinaface_on_mobilenet
from app.tools.importing.drafts import ImportOptions
from app.tools.importing.importer import import_file, import_pack, kind_of
from app.tools.importing.measuring import drawn_face
from app.tools.importing.onnx_file import FREE, FREE_SIZE
from app.tools.importing.references import largest_difference, numpy_outputs, require_equal
from app.tools.importing.weights import Weights
from app.types import Faces
from app.vision.attribute_models import MaskModel

onnx = pytest.importorskip("onnx")

FRONTAL = [[88.0, 100], [132, 100], [110, 125], [92, 150], [128, 150]]
DETECTOR = ROOT / "engines" / "retinaface_mnet025.onnx"


def saved(model, path):
    onnx.save(model, str(path))
    return path


def looking_at_faces(side, numbers):
    """A crop of this side to so many numbers, as networks for age or landmarks have them."""
    weight = np.ones((numbers, 3, 1, 1), np.float32)
    nodes = [("Conv", ["data", "weight"], ["maps"], {"strides": [side, side]}), ("Flatten", ["maps"], ["fc1"], {})]
    return graph(nodes, {"data": [1, 3, side, side]}, {"fc1": [1, numbers]}, {"weight": weight})


def files_beside(catalog_path):
    return sorted(path.name for path in catalog_path.parent.iterdir())


def test_a_wts_file_becomes_an_embedder_with_the_same_outputs(tmp_path, catalog_path, messages):
    architecture = public_mobilefacenet(64, 6)
    arrays = random_arrays(architecture)
    model = import_file(
        write_wts(tmp_path / "mine.wts", arrays), catalog_path, ImportOptions(licence="MIT"), messages.append
    )
    entry = model.entry
    assert (entry.name, entry.task, entry.family, entry.licence) == ("mine", "embedding", "arcface", "MIT")
    assert (entry.crop, entry.dimensions, entry.preprocessing.divisor) == ((96, 112), 64, 128)
    assert any("threshold" in remark for remark in model.remarks)
    assert any("largest difference" in line for line in messages)
    images = np.random.default_rng(4).uniform(-1, 1, (2, 3, 112, 96)).astype(np.float32)
    expected = numpy_outputs(architecture, Weights(arrays), images)
    assert largest_difference(expected, run_onnx(entry.verified_file().read_bytes(), images)) < 1e-5
    embedder = ModelLoader(
        Settings(models=ModelSettings(catalog=catalog_path, embedder="mine", backend="onnx"))
    ).open_embedder()
    assert embedder.embed(np.zeros((3, 112, 96, 3), np.uint8)).shape == (3, 64)
    embedder.close()


def test_anchors_of_a_detector_are_measured(catalog_path, messages):
    model = import_file(
        DETECTOR, catalog_path, ImportOptions(name="found", batch=FREE, size=(320, 320)), messages.append
    )
    assert model.entry.min_sizes == ((10, 20), (32, 64), (128, 256))
    assert any(line.startswith("anchors: 10/20, 32/64, 128/256, measured") for line in messages)
    detector = ModelLoader(
        Settings(models=ModelSettings(catalog=catalog_path, detector="found", backend="onnx"))
    ).open_detector()
    found = detector.detect([drawn_face((640, 480), side) for side in (120, 240)])
    assert [len(faces) for faces in found] == [1, 1]
    detector.close()


def test_a_fixed_batch_is_a_remark(catalog_path, messages):
    model = import_file(DETECTOR, catalog_path, ImportOptions(name="four", batch=4, size=(128, 128)), messages.append)
    assert any(remark.startswith("it always computes 4 pictures") for remark in model.remarks)


def test_ambiguous_anchors_are_the_usual_ones_with_a_warning(tmp_path, catalog_path, messages):
    path = write_wts(tmp_path / "random.wts", random_arrays(retinaface_on_mobilenet()))
    model = import_file(path, catalog_path, ImportOptions(slope=0.0), messages.append)
    assert model.entry.min_sizes == ((16, 32), (64, 128), (256, 512))
    assert any(line.startswith("anchors:") and "min_sizes" in line for line in messages)


def test_an_impossible_size_is_refused(catalog_path, messages):
    with pytest.raises(ModelError, match=r"200 x 200 pixels[\s\S]*multiples of 32"):
        import_file(DETECTOR, catalog_path, ImportOptions(name="small", size=(200, 200)), messages.append)
    assert files_beside(catalog_path) == ["catalog.yaml"]


@pytest.mark.parametrize(("sides", "size"), [((None, None), (641, 480)), ((480, 641), None)])
def test_a_size_that_does_not_fill_the_grid_is_refused_with_the_nearest_ones(
    tmp_path, catalog_path, messages, sides, size
):
    path = saved(small_scrfd(sides), tmp_path / "net.onnx")
    with pytest.raises(ModelError) as caught:
        import_file(path, catalog_path, ImportOptions(size=size), messages.append)
    (line,) = str(caught.value).splitlines()
    assert line.startswith("net.onnx: ") and "641 x 480" in line and "multiples of 32" in line
    assert "--size 640x480 or --size 672x480" in line
    assert files_beside(catalog_path) == ["catalog.yaml"]


def test_a_size_that_fills_the_grid_is_accepted(tmp_path, catalog_path, messages):
    path = saved(small_scrfd(), tmp_path / "net.onnx")
    import_file(path, catalog_path, ImportOptions(size=(640, 480)), messages.append)
    detector = ModelLoader(
        Settings(models=ModelSettings(catalog=catalog_path, detector="net", backend="onnx"))
    ).open_detector()
    assert detector.fixed_size == (640, 480) and len(detector.detect([drawn_face((640, 480), 200)])) == 1
    detector.close()


def test_fixed_batch_and_size_become_dynamic(tmp_path, catalog_path, messages):
    path = saved(small_centerface(), tmp_path / "centerface.onnx")
    entry = import_file(path, catalog_path, ImportOptions(batch=FREE, size=FREE_SIZE), messages.append).entry
    assert (entry.task, entry.family) == ("detection", "centerface")
    shape = onnx.load(str(entry.file)).graph.output[3].type.tensor_type.shape
    assert [dim.dim_value or dim.dim_param for dim in shape.dim] == ["batch", 10, "540_2", "540_3"]
    models = ModelSettings(catalog=catalog_path, detector="centerface", backend="onnx")
    detector = ModelLoader(Settings(models=models, detection=DetectionSettings(min_score=0.01))).open_detector()
    found = detector.detect([drawn_face((640, 480), 200), drawn_face((320, 240), 100)])
    assert len(found) == 2 and len(found[0])
    detector.close()


@pytest.mark.parametrize("options", [ImportOptions(), ImportOptions(batch=FREE), ImportOptions(size=(48, 48))])
def test_a_detector_with_a_tiny_fixed_input_is_refused(tmp_path, catalog_path, messages, options):
    path = saved(small_centerface(), tmp_path / "centerface.onnx")
    with pytest.raises(ModelError, match=r"--size free --batch dynamic"):
        import_file(path, catalog_path, options, messages.append)
    assert files_beside(catalog_path) == ["catalog.yaml"]


def test_an_embedder_with_dynamic_size_is_refused(tmp_path, catalog_path, messages):
    path = saved(small_embedder(), tmp_path / "net.onnx")
    with pytest.raises(ModelError, match="112 x 112"):
        import_file(path, catalog_path, ImportOptions(size=FREE_SIZE), messages.append)
    assert files_beside(catalog_path) == ["catalog.yaml"]


@pytest.mark.parametrize(("slope", "operator"), [(0.0, "Relu"), (0.1, "LeakyRelu")])
def test_the_activation_can_be_chosen(tmp_path, catalog_path, messages, slope, operator):
    path = write_wts(tmp_path / "random.wts", random_arrays(retinaface_on_mobilenet()))
    entry = import_file(path, catalog_path, ImportOptions(slope=slope), messages.append).entry
    kinds = [node.op_type for node in onnx.load(str(entry.file)).graph.node]
    assert (operator == "LeakyRelu") == ("LeakyRelu" in kinds)


def test_activation_is_refused_for_other_architectures(tmp_path, catalog_path, messages):
    path = write_wts(tmp_path / "net.wts", random_arrays(public_mobilefacenet(64)))
    with pytest.raises(ModelError, match="--activation"):
        import_file(path, catalog_path, ImportOptions(slope=0.1), messages.append)


def test_a_checkpoint_is_compared_with_pytorch(tmp_path, catalog_path, messages):
    torch = pytest.importorskip("torch")
    arrays = random_arrays(public_mobilefacenet(64))
    state = {f"module.{name}": torch.from_numpy(array) for name, array in arrays.items()}
    torch.save({"epoch": 3, "net_state_dict": state}, tmp_path / "net.ckpt")
    entry = import_file(tmp_path / "net.ckpt", catalog_path, ImportOptions(), messages.append).entry
    assert entry.crop == (112, 112) and "PyTorch" in entry.notes


def test_an_onnx_file_without_changes_is_copied_byte_for_byte(tmp_path, catalog_path, messages):
    path = saved(small_embedder(), tmp_path / "net.onnx")
    model = import_file(path, catalog_path, ImportOptions(), messages.append)
    assert model.entry.file.read_bytes() == path.read_bytes()
    assert any("channels rgb" in remark for remark in model.remarks)


def test_a_network_that_scales_its_input_gets_plain_pixels(tmp_path, catalog_path, messages):
    inner = small_embedder()
    nodes = [("Sub", ["pixels", "mean"], ["centred"], {}), ("Mul", ["centred", "factor"], ["input"], {})]
    constants = {"mean": np.float32(127.5), "factor": np.float32(1 / 128)}
    outer = graph(nodes, {"pixels": [1, 3, 112, 112]}, {"input": [1, 3, 112, 112]}, constants)
    joined = onnx.compose.merge_models(outer, inner, io_map=[("input", "input")])
    entry = import_file(saved(joined, tmp_path / "raw.onnx"), catalog_path, ImportOptions(), messages.append).entry
    assert (entry.preprocessing.mean, entry.preprocessing.divisor) == ((0, 0, 0), 1)


def test_a_file_of_the_catalogue_is_installed_under_its_name(tmp_path, catalog_path, messages):
    path = saved(small_embedder(), tmp_path / "downloaded.onnx")
    import_file(path, catalog_path, ImportOptions(name="temporary"), messages.append)
    mine = catalog_path.with_name("my_models.yaml")
    known = mine.read_text().replace("temporary", "w600k") + "  url: https://example.org/w600k.onnx\n"
    mine.unlink()
    catalog_path.write_text(known, encoding="utf-8")
    model = import_file(path, catalog_path, ImportOptions(), messages.append)
    assert model.entry.name == "w600k" and model.entry.verified_file().name == "w600k.onnx"
    assert not mine.exists()


def test_a_pack_is_imported_and_the_rest_is_reported(tmp_path, catalog_path, messages):
    three_dimensional = looking_at_faces(192, 3309)
    with zipfile.ZipFile(tmp_path / "pack.zip", "w") as archive:
        archive.write(saved(small_embedder(), tmp_path / "a.onnx"), "buffalo/w600k_mbf.onnx")
        archive.write(saved(three_dimensional, tmp_path / "b.onnx"), "buffalo/1k3d68.onnx")
        archive.writestr("buffalo/broken.onnx", b"nothing")
        archive.write(saved(small_scrfd((100, 100)), tmp_path / "c.onnx"), "buffalo/odd.onnx")
        archive.writestr("buffalo/more.pth", b"weights")
        archive.writestr("buffalo/readme.txt", b"text")
    imported, skipped = import_pack(tmp_path / "pack.zip", catalog_path, ImportOptions(), messages.append)
    assert [model.entry.name for model in imported] == ["w600k_mbf"]
    assert [network.file for network in skipped if network.is_network] == [
        "1k3d68.onnx",
        "broken.onnx",
        "odd.onnx",
        "more.pth",
    ]
    assert [network.file for network in skipped if not network.is_network] == ["readme.txt"]
    assert any(network.file == "more.pth" and "unpack" in network.reason for network in skipped)
    assert any("68 landmarks in three dimensions" in network.reason for network in skipped)
    assert any("100 x 100" in network.reason for network in skipped)
    assert imported[0].entry.source == "w600k_mbf.onnx of pack.zip"


@pytest.mark.parametrize(
    ("side", "numbers", "task"),
    [(96, 3, "attributes"), (112, 202, "attributes"), (192, 212, "landmarks"), (80, 3, "antispoof")],
)
def test_attribute_networks_are_recognised(tmp_path, catalog_path, messages, side, numbers, task):
    model = looking_at_faces(side, numbers)
    entry = import_file(saved(model, tmp_path / "net.onnx"), catalog_path, ImportOptions(), messages.append).entry
    assert (entry.task, entry.crop) == (task, (side, side))


def telling_two_kinds(shape, name="mask_probabilities"):
    """A picture to two numbers that add up to one, with the planes first or last."""
    planes_first = shape[1] == 3
    length = int(np.prod(shape[1:]))
    weight = np.random.default_rng(0).standard_normal((length, 2)).astype(np.float32) / np.float32(length)
    nodes = [
        ("Flatten", ["data"], ["pixels"], {}),
        ("MatMul", ["pixels", "weight"], ["scores"], {}),
        ("Softmax", ["scores"], [name], {"axis": 1}),
    ]
    assert planes_first or shape[3] == 3
    return graph(nodes, {"data": shape}, {name: [shape[0], 2]}, {"weight": weight})


@pytest.mark.parametrize("shape", [[1, 224, 224, 3], [1, 112, 112, 3], ["n", 3, 112, 112]])
def test_a_binary_classifier_named_mask_is_a_mask_model(tmp_path, catalog_path, messages, shape):
    path = saved(telling_two_kinds(shape), tmp_path / "net.onnx")
    model = import_file(path, catalog_path, ImportOptions(batch=FREE), messages.append)
    assert (model.entry.task, model.entry.family) == ("attributes", "mask")
    assert model.entry.crop == (shape[2], shape[2])
    assert any("channels bgr" in remark for remark in model.remarks)
    faces = Faces(np.array([[50.0, 40, 170, 200]] * 2), np.ones(2), np.array([FRONTAL] * 2))
    reader = MaskModel(OnnxEngine(model.entry.verified_file()), model.entry)
    found = reader.predict(np.full((240, 240, 3), 90, np.uint8), faces)
    assert len(found) == 2 and all(abs(sum(pair) - 1) < 1e-6 for pair in found)
    reader.close()


def test_other_binary_classifiers_need_the_family_mask(tmp_path, catalog_path, messages):
    path = saved(telling_two_kinds([1, 3, 112, 112], "output"), tmp_path / "net.onnx")
    with pytest.raises(ModelError, match="--family mask"):
        import_file(path, catalog_path, ImportOptions(), messages.append)
    assert import_file(path, catalog_path, ImportOptions(family="mask"), messages.append).entry.family == "mask"


@pytest.mark.parametrize("numbered", [False, True])
def test_a_detector_that_predicts_masks_is_recognised(tmp_path, catalog_path, messages, numbered):
    nodes, outputs, constants = [], {}, {}
    for stride in (32, 16, 8):
        for role, channels in (("cls_prob", 4), ("bbox_pred", 8), ("landmark_pred", 20), ("type_prob", 6)):
            name = str(len(outputs)) if numbered else f"face_rpn_{role}_stride{stride}_output"
            constants[f"weight {name}"] = np.zeros((channels, 3, 1, 1), np.float32)
            nodes.append(("Conv", ["data", f"weight {name}"], [name], {"strides": [stride, stride]}))
            outputs[name] = [1, channels, 480 // stride, 640 // stride]
    path = saved(graph(nodes, {"data": [1, 3, 480, 640]}, outputs, constants), tmp_path / "net.onnx")
    entry = import_file(path, catalog_path, ImportOptions(), messages.append).entry
    assert (entry.family, entry.landmark_scale) == ("retinaface_mxnet", 0.2)


def test_an_unknown_family_is_refused_with_the_shapes(tmp_path, catalog_path, messages):
    model = graph([("Relu", ["input"], ["x"], {})], {"input": [1, 5]}, {"x": [1, 5]})
    with pytest.raises(ModelError, match="x 1 x 5"):
        import_file(saved(model, tmp_path / "net.onnx"), catalog_path, ImportOptions(), messages.append)
    assert files_beside(catalog_path) == ["catalog.yaml"]


def test_a_wrong_family_is_refused(tmp_path, catalog_path, messages):
    path = saved(small_embedder(), tmp_path / "net.onnx")
    with pytest.raises(ModelError, match=r"scrfd.* arcface"):
        import_file(path, catalog_path, ImportOptions(family="scrfd"), messages.append)


def test_a_dynamic_embedder_is_recognised_with_a_size(tmp_path, catalog_path, messages):
    path = saved(small_embedder("n", "side"), tmp_path / "net.onnx")
    with pytest.raises(ModelError, match="--size 112x112"):
        import_file(path, catalog_path, ImportOptions(), messages.append)
    entry = import_file(path, catalog_path, ImportOptions(size=(112, 112)), messages.append).entry
    assert (entry.crop, entry.dimensions) == ((112, 112), 64)


def with_prelu():
    """A small embedder behind a PReLU."""
    model = small_embedder()
    model.graph.node[0].output[0] = "before"
    model.graph.node.insert(1, onnx.helper.make_node("PRelu", ["before", "slopes"], ["maps"]))
    slopes = np.random.default_rng(1).uniform(0, 1, (64, 1, 1)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(slopes, "slopes"))
    return model


def test_prelu_is_written_in_operations_that_are_fast_without_the_package_onnx(tmp_path, catalog_path, messages):
    path = saved(with_prelu(), tmp_path / "net.onnx")
    entry = import_file(path, catalog_path, ImportOptions(), messages.append).entry
    content = entry.verified_file().read_bytes()
    assert b"PRelu" not in content
    images = np.random.default_rng(2).uniform(-1, 1, (1, 3, 112, 112)).astype(np.float32)
    assert largest_difference(run_onnx(path.read_bytes(), images), run_onnx(content, images)) < 1e-6


def test_a_file_in_the_folder_of_models_is_not_changed(tmp_path, catalog_path, messages):
    path = saved(with_prelu(), catalog_path.with_name("net.onnx"))
    content = path.read_bytes()
    with pytest.raises(ModelError, match="--name"):
        import_file(path, catalog_path, ImportOptions(batch=FREE), messages.append)
    model = import_file(path, catalog_path, ImportOptions(), messages.append)
    assert model.entry.verified_file() == path and path.read_bytes() == content
    assert any("--name" in remark for remark in model.remarks)
    with pytest.raises(ModelError, match=r"'net'.*--replace"):
        import_file(path, catalog_path, ImportOptions(), messages.append)
    again = import_file(path, catalog_path, ImportOptions(replace=True, licence="MIT"), messages.append)
    assert again.entry.licence == "MIT" and path.read_bytes() == content
    other = import_file(path, catalog_path, ImportOptions(name="other"), messages.append)
    assert b"PRelu" not in other.entry.verified_file().read_bytes()
    assert files_beside(catalog_path) == ["catalog.yaml", "my_models.yaml", "net.onnx", "other.onnx"]


@pytest.mark.slow
def test_a_checkpoint_of_dsfds_wrappers_gets_their_swapped_means(tmp_path, catalog_path, messages):
    described = yaml.safe_load((ROOT / "engines" / "catalog.yaml").read_text(encoding="utf-8"))
    name = "dsfd_retinanet_mobilenet"
    catalog_path.write_text(yaml.safe_dump({name: described[name]}), encoding="utf-8")
    path = write_wts(tmp_path / "RetinaFace_mobilenet025.wts", random_arrays(retinaface_on_mobilenet()))
    usual = import_file(path, catalog_path, ImportOptions(name="usual", slope=0.1), messages.append).entry
    swapped = import_file(
        path, catalog_path, ImportOptions(name="swapped", slope=0.1, like=name), messages.append
    ).entry
    assert (usual.preprocessing.mean, swapped.preprocessing.mean) == ((104, 117, 123), (123, 117, 104))
    assert usual.preprocessing.channels == swapped.preprocessing.channels == "bgr"


def test_a_checkpoint_of_dsfd_becomes_a_detector(tmp_path, catalog_path, messages, caplog):
    torch = pytest.importorskip("torch")
    described = yaml.safe_load((ROOT / "engines" / "catalog.yaml").read_text(encoding="utf-8"))
    catalog_path.write_text(yaml.safe_dump({"dsfd_resnet152": described["dsfd_resnet152"]}), encoding="utf-8")
    arrays = random_arrays(dsfd_on_resnet((1, 2, 1, 1), 4))
    small = {name: array / 100000 for name, array in arrays.items() if "conv4" in name}
    arrays.update(small)  # random boxes stay within the range of floats
    path = tmp_path / "WIDERFace_DSFD_RES152.pth"
    torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, path)
    options = ImportOptions(name="dsfd", like="dsfd_resnet152")
    entry = import_file(path, catalog_path, options, messages.append).entry
    assert (entry.family, entry.preprocessing.channels, entry.preprocessing.mean) == ("dsfd", "bgr", (104, 117, 123))
    assert (entry.licence, entry.min_score, entry.photo_score) == ("Apache-2.0", 0.5, 0.8)
    assert any(line.startswith("compared with PyTorch") for line in messages)
    models = ModelSettings(catalog=catalog_path, detector="dsfd", backend="onnx")
    detector = ModelLoader(Settings(models=models, detection=DetectionSettings(min_score=0.1))).open_detector()
    pictures = np.random.default_rng(0).integers(0, 255, (2, 120, 170, 3)).astype(np.uint8)
    together = detector.detect(list(pictures))
    (alone,) = detector.detect([pictures[1]])
    detector.close()
    assert len(alone) > 0
    np.testing.assert_allclose(together[1].boxes, alone.boxes, rtol=1e-3, atol=0.05)


def test_a_difference_above_the_tolerance_is_refused():
    expected = {"embedding": np.array([100.0, 1.0])}
    require_equal("net", largest_difference(expected, {"embedding": np.array([100.009, 1.0])}))
    with pytest.raises(ModelError, match="Nothing was installed"):
        require_equal("net", largest_difference(expected, {"embedding": np.array([100.02, 1.0])}))
    with pytest.raises(ModelError, match="Nothing was installed"):
        require_equal("net", largest_difference(expected, {"embedding": np.array([np.nan, 1.0])}))
    with pytest.raises(ModelError, match="should have the shape"):
        largest_difference(expected, {"embedding": np.zeros(3)})


def test_an_interruption_leaves_nothing_behind(tmp_path, catalog_path):
    def interrupt(line):
        if line.startswith("compared"):
            raise KeyboardInterrupt

    path = saved(small_embedder(), tmp_path / "net.onnx")
    with pytest.raises(KeyboardInterrupt):
        import_file(path, catalog_path, ImportOptions(), interrupt)
    assert files_beside(catalog_path) == ["catalog.yaml"]


def test_a_reader_that_went_away_is_not_taken_for_a_folder_that_cannot_be_written_to(tmp_path, catalog_path):
    def broken_pipe(line):
        if line.startswith("compared"):
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        import_file(saved(small_embedder(), tmp_path / "net.onnx"), catalog_path, ImportOptions(), broken_pipe)
    assert files_beside(catalog_path) == ["catalog.yaml"]


def test_a_full_disk_is_reported_before_anything_is_written(tmp_path, catalog_path, messages, monkeypatch):
    path = saved(small_embedder(), tmp_path / "net.onnx")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=1000))
    with pytest.raises(ModelError, match="needed"):
        import_file(path, catalog_path, ImportOptions(), messages.append)
    assert files_beside(catalog_path) == ["catalog.yaml"]


def test_without_onnx_it_says_what_to_install(tmp_path, catalog_path, messages, monkeypatch):
    path = write_wts(tmp_path / "net.wts", random_arrays(public_mobilefacenet(64)))
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(AppError, match="pip install onnx"):
        import_file(path, catalog_path, ImportOptions(), messages.append)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.txt", b"hello", "PyTorch checkpoint"),
        ("a.bin", b"", "is empty"),
        ("a.onnx", b"", "is empty"),
        ("a.zip", b"PK\x03\x04cut", "is it complete"),
    ],
)
def test_other_files_are_refused(tmp_path, name, content, complaint):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=complaint):
        kind_of(tmp_path / name)


@pytest.mark.parametrize(
    ("members", "complaint"),
    [
        ((), "empty"),
        (("a/net.pth", "a/readme.txt"), r"net\.pth.*unpack"),
        (("a.txt",), "neither ONNX networks nor a PyTorch checkpoint"),
    ],
)
def test_zip_files_that_are_no_packs_are_refused(tmp_path, members, complaint):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in members:
            archive.writestr(name, b"x")
    with pytest.raises(ModelError, match=complaint):
        kind_of(tmp_path / "a.zip")


@pytest.mark.parametrize("content", [b"hello, this is no network", b"\x08\x07", bytes(100)])
def test_an_invalid_onnx_file_is_refused(tmp_path, catalog_path, messages, content):
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=r"net\.onnx: .*ONNX"):
        import_file(tmp_path / "net.onnx", catalog_path, ImportOptions(), messages.append)


def test_an_interrupted_pack_tells_what_is_installed(tmp_path, catalog_path):
    def interrupt(line):
        if line == "second.onnx:":
            told_second.append(line)
        if told_second and line.startswith("compared"):
            raise KeyboardInterrupt

    told_second = []
    network = saved(small_embedder(), tmp_path / "net.onnx")
    with zipfile.ZipFile(tmp_path / "pack.zip", "w") as archive:
        for name in ("first", "second", "third"):
            archive.write(network, f"{name}.onnx")
    with pytest.raises(KeyboardInterrupt, match=r"installed: first; not installed: second\.onnx, third\.onnx"):
        import_pack(tmp_path / "pack.zip", catalog_path, ImportOptions(), interrupt)
    assert files_beside(catalog_path) == ["catalog.yaml", "first.onnx", "my_models.yaml"]


def test_activation_is_refused_for_onnx(tmp_path, catalog_path, messages):
    path = saved(small_embedder(), tmp_path / "net.onnx")
    with pytest.raises(ModelError, match="--activation"):
        import_file(path, catalog_path, ImportOptions(slope=0.0), messages.append)
    assert files_beside(catalog_path) == ["catalog.yaml"]


def test_weights_of_another_family_are_refused(tmp_path, catalog_path, messages):
    path = write_wts(tmp_path / "net.wts", random_arrays(public_mobilefacenet(64)))
    with pytest.raises(ModelError, match=r"scrfd.* arcface"):
        import_file(path, catalog_path, ImportOptions(family="scrfd"), messages.append)


def test_an_unknown_family_name_lists_the_known_ones(tmp_path, catalog_path, messages):
    path = saved(small_embedder(), tmp_path / "net.onnx")
    with pytest.raises(ModelError, match=r"'bogus'.*retinaface.*scrfd.*arcface.*antispoof"):
        import_file(path, catalog_path, ImportOptions(family="bogus"), messages.append)


@pytest.mark.parametrize(("slope", "warned"), [(0.0, True), (0.1, False)])
def test_an_activation_that_contradicts_the_measurement_is_a_warning(tmp_path, catalog_path, messages, slope, warned):
    path = write_wts(tmp_path / "net.wts", trained_arrays(0.1))
    import_file(path, catalog_path, ImportOptions(slope=slope), messages.append)
    assert any(line.startswith("warning: ") and "activation" in line for line in messages) == warned


def test_mobilefacenet_has_the_same_entry_from_onnx_and_from_weights(tmp_path, catalog_path, messages):
    path = write_wts(tmp_path / "weights.wts", random_arrays(public_mobilefacenet(128, 6)))
    first = import_file(path, catalog_path, ImportOptions(), messages.append).entry
    second = import_file(first.file, catalog_path, ImportOptions(name="again"), messages.append)
    assert second.entry.preprocessing == first.preprocessing and first.preprocessing.divisor == 128
    assert second.entry.threshold == first.threshold
    assert any("divisor 128" in remark and str(catalog_path.parent) in remark for remark in second.remarks)


def test_all_missing_packages_are_named_at_once(tmp_path, catalog_path, messages, monkeypatch):
    (tmp_path / "net.pth").write_bytes(b"\x80\x02}q\x00.")
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(AppError, match=r"python\S* -m pip install onnx torch\n"):
        import_file(tmp_path / "net.pth", catalog_path, ImportOptions(), messages.append)


def test_the_kind_is_told_by_what_is_in_the_file(tmp_path):
    write_wts(tmp_path / "weights.dat", {"a": np.zeros(1)})
    (tmp_path / "old").write_bytes(b"\x80\x02}q\x00.")
    with zipfile.ZipFile(tmp_path / "new", "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    kinds = {name: kind_of(tmp_path / name) for name in ("weights.dat", "old", "new")}
    assert kinds == {"weights.dat": "wts", "old": "checkpoint", "new": "checkpoint"}
    with pytest.raises(ModelError, match="cannot be read"):
        kind_of(tmp_path)


def test_imported_models_are_in_my_models(tmp_path, catalog_path, messages):
    import_file(saved(small_embedder(), tmp_path / "net.onnx"), catalog_path, ImportOptions(), messages.append)
    assert files_beside(catalog_path) == ["catalog.yaml", "my_models.yaml", "net.onnx"]
    assert catalog_path.read_text() == "{}\n" and "net" in read_catalog(catalog_path).entries
