"""Who brings a file that many people have gets the right preprocessing without looking it up."""

import numpy as np
import pytest
import yaml

pytest.importorskip("onnx")

import onnx
from made_networks import graph, random_arrays, write_wts
from shipped import CATALOG

from app.errors import ModelError
from app.models.catalog import read_catalog
from app.models.entry import sha256_of
from app.tools.importing.architectures import public_mobilefacenet, retinaface_on_mobilenet
from app.tools.importing.drafts import ImportOptions
from app.tools.importing.importer import import_file, import_pack
from app.tools.importing.known_networks import MatchedBy, known_by_name


@pytest.fixture
def shipped_catalog(catalog_path):
    """The program's own catalogue, without any network beside it."""
    catalog_path.write_text(CATALOG.read_text(encoding="utf-8"), encoding="utf-8")
    return catalog_path


def embedder(path, dimensions=512, scales=False):
    """A crop of 112 x 112 to an embedding, with or without mean and scale inside."""
    weights = {"weight": np.full((dimensions, 3, 1, 1), 0.1, np.float32)}
    nodes = [("Conv", ["scaled" if scales else "data", "weight"], ["maps"], {"strides": [112, 112]})]
    nodes.append(("Flatten", ["maps"], ["fc1"], {}))
    if scales:
        weights.update(mean=np.float32([127.5]), scale=np.float32([1 / 128]))
        nodes = [("Sub", ["data", "mean"], ["centred"], {}), ("Mul", ["centred", "scale"], ["scaled"], {}), *nodes]
    onnx.save(graph(nodes, {"data": [1, 3, 112, 112]}, {"fc1": [1, dimensions]}, weights), str(path))
    return path


def retinaface_maps(path):
    """Nine outputs as those of RetinaFace from MXNet, for any picture."""
    weights = {"pool": np.full((1, 3, 1, 1), 0.1, np.float32)}
    nodes, outputs = [("Conv", ["data", "pool"], ["grey"], {})], {}
    for stride in (32, 16, 8):
        for kind, planes in (("cls_prob_reshape", 4), ("bbox_pred", 8), ("landmark_pred", 20)):
            name = f"face_rpn_{kind}_stride{stride}"
            weights[f"w {name}"] = np.full((planes, 1, stride, stride), 0.01, np.float32)
            nodes.append(("Conv", ["grey", f"w {name}"], [name], {"strides": [stride, stride]}))
            outputs[name] = [1, planes, 128 // stride, 128 // stride]
    onnx.save(graph(nodes, {"data": [1, 3, 128, 128]}, outputs, weights), str(path))
    return path


def scrfd_rows(path):
    """Nine outputs as those of SCRFD, a row an anchor, for any picture."""
    weights = {"pool": np.full((1, 3, 1, 1), 0.1, np.float32)}
    nodes, outputs = [("Conv", ["input.1", "pool"], ["grey"], {})], {}
    for kind, values in (("score", 1), ("bbox", 4), ("kps", 10)):
        weights[f"rows {kind}"] = np.array([1, -1, values], np.int64)
        for stride in (8, 16, 32):
            name = f"{kind}_{stride}"
            weights[f"w {name}"] = np.full((2 * values, 1, stride, stride), 0.01, np.float32)
            nodes.append(("Conv", ["grey", f"w {name}"], [f"maps {name}"], {"strides": [stride, stride]}))
            nodes.append(("Transpose", [f"maps {name}"], [f"cells {name}"], {"perm": [0, 2, 3, 1]}))
            nodes.append(("Reshape", [f"cells {name}", f"rows {kind}"], [name], {}))
            outputs[name] = [1, 2 * (128 // stride) ** 2, values]
    onnx.save(graph(nodes, {"input.1": [1, 3, 128, 128]}, outputs, weights), str(path))
    return path


def test_a_file_with_the_name_of_a_known_network_gets_its_facts(tmp_path, shipped_catalog, messages):
    model = import_file(
        embedder(tmp_path / "adaface_ir101_webface12m.onnx"), shipped_catalog, ImportOptions(), messages.append
    )
    entry = model.entry
    assert (entry.name, entry.preprocessing.channels, entry.threshold) == ("adaface_ir101_webface12m", "bgr", 0.4)
    assert entry.licence == "MIT code, research data" and entry.source.startswith("AdaFace")
    assert any("adaface_ir101_webface12m" in line and MatchedBy.NAME in line for line in messages)
    assert not any("usual values" in remark for remark in model.remarks)


def test_networks_that_differ_in_a_factor_are_distinguished_by_name(tmp_path, shipped_catalog, messages):
    for name, scale in (("retinaface_mnet025_v1", 1.0), ("retinaface_mnet025_v2", 0.2)):
        entry = import_file(
            retinaface_maps(tmp_path / f"{name}.onnx"), shipped_catalog, ImportOptions(), messages.append
        ).entry
        assert (entry.name, entry.landmark_scale) == (name, scale)
        assert not entry.commercial_use and entry.licence == "InsightFace, research only"


@pytest.mark.parametrize("kind", ["scrfd_{}_bnkps", "scrfd_{}_gnkps", "det_{}"])
@pytest.mark.parametrize("size", ["500m", "2.5g", "10g"])
def test_the_terms_of_insightface_s_detectors_are_told_under_all_their_names(
    tmp_path, shipped_catalog, messages, kind, size
):
    path = scrfd_rows(tmp_path / f"{kind.format(size)}.onnx")
    entry = import_file(path, shipped_catalog, ImportOptions(), messages.append).entry
    assert entry.name == path.stem.replace(".", "_")
    assert (entry.family, entry.min_score, entry.preprocessing.channels) == ("scrfd", 0.5, "rgb")
    assert entry.licence_text == "InsightFace, research only: NON-COMMERCIAL use only"
    assert entry.source == f"SCRFD-{size.upper()}F with landmarks by InsightFace"


def test_a_name_of_insightface_is_ignored_for_another_network(tmp_path, shipped_catalog, messages):
    entry = import_file(
        retinaface_maps(tmp_path / "det_10g.onnx"), shipped_catalog, ImportOptions(), messages.append
    ).entry
    assert (entry.name, entry.family, entry.licence) == ("my_det_10g", "retinaface_mxnet", "unknown")
    assert any("det_10g" in line and "retinaface_mxnet" in line for line in messages)


def test_networks_with_another_crop_margin_are_distinguished(tmp_path, shipped_catalog, messages):
    for name, enlarge in (("minifasnet_v1se", 4), ("anything", 2.7)):
        weights = {"weight": np.ones((3, 3, 1, 1), np.float32)}
        nodes = [("Conv", ["data", "weight"], ["m"], {"strides": [80, 80]}), ("Flatten", ["m"], ["out"], {})]
        onnx.save(graph(nodes, {"data": [1, 3, 80, 80]}, {"out": [1, 3]}, weights), str(tmp_path / f"{name}.onnx"))
        entry = import_file(tmp_path / f"{name}.onnx", shipped_catalog, ImportOptions(), messages.append).entry
        assert (entry.family, entry.enlarge) == ("antispoof", enlarge)


def test_like_takes_facts_for_a_file_of_any_name(tmp_path, shipped_catalog, messages):
    options = ImportOptions(like="adaface_ir101_webface12m", licence="bought")
    model = import_file(embedder(tmp_path / "mine.onnx"), shipped_catalog, options, messages.append)
    entry = model.entry
    assert (entry.name, entry.preprocessing.channels) == ("mine", "bgr")
    notes = read_catalog(shipped_catalog).without_file["adaface_ir101_webface12m"].notes
    assert notes and notes not in model.remarks, "they are about other weights"
    assert entry.licence == "bought" and entry.commercial_use


def test_like_an_imported_model_takes_its_facts_but_not_its_source(tmp_path, shipped_catalog, messages):
    path = embedder(tmp_path / "mine.onnx")
    import_file(path, shipped_catalog, ImportOptions(like="adaface_ir101_webface12m"), messages.append)
    messages.clear()
    model = import_file(path, shipped_catalog, ImportOptions(name="next", like="mine"), messages.append)
    assert model.entry.preprocessing.channels == "bgr"
    assert any("mine of my_models.yaml" in line and MatchedBy.USER in line for line in messages)
    assert not any("Imported from" in remark for remark in model.remarks)


def test_the_shipped_catalogue_takes_precedence_over_imported_models(tmp_path, shipped_catalog, messages):
    import_file(embedder(tmp_path / "glintr100.onnx", 128), shipped_catalog, ImportOptions(), messages.append)
    path = embedder(tmp_path / "mine.onnx")
    entry = import_file(path, shipped_catalog, ImportOptions(like="glintr100"), messages.append).entry
    assert entry.source == read_catalog(shipped_catalog).without_file["glintr100"].source


def test_scaling_inside_the_network_takes_precedence_over_the_name(tmp_path, shipped_catalog, messages):
    path = embedder(tmp_path / "glintr100.onnx", scales=True)
    entry = import_file(path, shipped_catalog, ImportOptions(), messages.append).entry
    assert (entry.preprocessing.mean, entry.preprocessing.divisor) == ((0, 0, 0), 1)
    path = embedder(tmp_path / "arcface_r100_v1.onnx", scales=True)
    entry = import_file(path, shipped_catalog, ImportOptions(), messages.append).entry
    assert (entry.preprocessing.mean, entry.preprocessing.divisor) == ((0, 0, 0), 1)


def test_a_file_with_the_name_of_a_different_network_gets_no_facts(tmp_path, shipped_catalog, messages):
    entry = import_file(
        embedder(tmp_path / "glintr100.onnx", 128), shipped_catalog, ImportOptions(), messages.append
    ).entry
    assert (entry.name, entry.dimensions, entry.licence) == ("my_glintr100", 128, "unknown")
    assert any("glintr100" in line and "my_glintr100" in line for line in messages)
    assert any("128" in line and "512" in line for line in messages)
    entry = import_file(embedder(tmp_path / "mnet_cov2.onnx"), shipped_catalog, ImportOptions(), messages.append).entry
    assert entry.family == "arcface"


def test_another_file_with_a_published_name_gets_its_preprocessing_but_not_its_licence(
    tmp_path, shipped_catalog, messages
):
    model = import_file(embedder(tmp_path / "w600k_r50.onnx"), shipped_catalog, ImportOptions(), messages.append)
    entry = model.entry
    published = read_catalog(shipped_catalog).entries["w600k_r50"]
    assert any("w600k_r50" in line and "my_w600k_r50" in line for line in messages)
    assert (entry.name, entry.preprocessing) == ("my_w600k_r50", published.preprocessing)
    assert (entry.licence, entry.source) == ("unknown", "w600k_r50.onnx")
    assert published.notes not in model.remarks and any("threshold" in line for line in model.remarks)
    assert any("w600k_r50 in the catalogue" in line and "only channels" in line for line in messages)


def test_like_a_published_file_does_not_give_other_weights_its_licence(tmp_path, shipped_catalog, messages):
    options = ImportOptions(name="mine", like="w600k_r50")
    entry = import_file(embedder(tmp_path / "a.onnx"), shipped_catalog, options, messages.append).entry
    published = read_catalog(shipped_catalog).entries["w600k_r50"]
    assert (entry.preprocessing, entry.threshold) == (published.preprocessing, published.threshold)
    assert (entry.name, entry.licence, entry.source) == ("mine", "unknown", "a.onnx")
    assert not any(published.licence in line for line in messages)


def test_a_published_file_keeps_its_licence_under_any_name(tmp_path, shipped_catalog, messages):
    path = embedder(tmp_path / "mine.onnx")
    content = yaml.safe_load(shipped_catalog.read_text(encoding="utf-8"))
    content["w600k_r50"]["sha256"] = sha256_of(path)
    shipped_catalog.write_text(yaml.safe_dump(content), encoding="utf-8")
    entry = import_file(path, shipped_catalog, ImportOptions(name="other"), messages.append).entry
    published = read_catalog(shipped_catalog).entries["w600k_r50"]
    assert (entry.name, entry.licence) == ("other", "InsightFace, research only")
    assert (entry.commercial_use, entry.source) == (False, published.source)
    assert (entry.preprocessing, entry.threshold) == (published.preprocessing, published.threshold)
    assert any("w600k_r50 of the catalogue" in line and MatchedBy.SHA256 in line for line in messages)


def test_a_changed_name_is_reported(tmp_path, shipped_catalog, messages):
    import_file(embedder(tmp_path / "mine 2.5.onnx"), shipped_catalog, ImportOptions(), messages.append)
    assert any("mine_2_5" in line for line in messages)


@pytest.mark.parametrize(
    ("like", "complaint"),
    [
        ("mnet_cov2", r"mnet_cov2: .*arcface.*retinaface_mxnet"),
        ("mobilefacenet_112x96", r"112x112.*96x112.*512.*128"),
        ("glintr10", r"has no model 'glintr10'; did you mean 'glintr100'\?"),
    ],
)
def test_contradictions_to_like_are_refused(tmp_path, shipped_catalog, messages, like, complaint):
    with pytest.raises(ModelError, match=complaint):
        import_file(embedder(tmp_path / "mine.onnx"), shipped_catalog, ImportOptions(like=like), messages.append)
    assert [path.name for path in shipped_catalog.parent.iterdir()] == ["catalog.yaml"]


def test_a_checkpoint_keeps_its_preprocessing_unless_like_is_given(tmp_path, shipped_catalog, messages):
    path = write_wts(tmp_path / "mobilefacenet_112x96.wts", random_arrays(public_mobilefacenet(128, 6)))
    entry = import_file(path, shipped_catalog, ImportOptions(), messages.append).entry
    assert (entry.threshold, entry.preprocessing.divisor) == (0.28, 128)
    path = write_wts(tmp_path / "retina.wts", random_arrays(retinaface_on_mobilenet()))
    options = ImportOptions(slope=0.0, like="dsfd_retinanet_mobilenet")
    entry = import_file(path, shipped_catalog, options, messages.append).entry
    assert (entry.preprocessing.channels, entry.preprocessing.mean) == ("bgr", (123, 117, 104))


def test_networks_from_weights_never_take_plain_pixels(tmp_path, shipped_catalog, messages):
    content = yaml.safe_load(shipped_catalog.read_text(encoding="utf-8"))
    content["raw"] = {**content["arcface_r100_v1"], "crop": [96, 112], "dimensions": 128}
    shipped_catalog.write_text(yaml.safe_dump(content), encoding="utf-8")
    path = write_wts(tmp_path / "any.wts", random_arrays(public_mobilefacenet(128, 6)))
    entry = import_file(path, shipped_catalog, ImportOptions(like="raw"), messages.append).entry
    assert entry.preprocessing.divisor == 128


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("glintr100", "glintr100"),
        ("GlintR100-fp16", "glintr100"),
        ("scrfd_2.5g_bnkps_shape640x640", "scrfd_2_5g_bnkps"),
        ("scrfd_10g_gnkps_norm", "scrfd_10g_gnkps"),
        ("scrfd_500m_kps", "scrfd_500m_kps"),
        ("det_2.5g", "det_2_5g"),
        ("det_5g", None),
        ("retinaface_mnet025_v2", "retinaface_mnet025_v2"),
        ("r100-msfdrop75", "r100_msfdrop75"),
        ("w600k_r50", "w600k_r50"),
        ("retinaface_mnet025", None),
        ("glintr1000", None),
        ("mine", None),
    ],
)
def test_names_are_read_generously_and_not_too_much(stem, name):
    known = known_by_name(stem, read_catalog(CATALOG))
    assert (known and known.entry.name) == name


def test_a_pack_keeps_its_names(tmp_path, shipped_catalog, messages):
    with pytest.raises(ModelError, match="--like"):
        import_pack(tmp_path / "pack.zip", shipped_catalog, ImportOptions(like="glintr100"), messages.append)
