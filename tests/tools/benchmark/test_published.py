"""Published rows meet this machine's figures: installed networks first, else random weights, else the reason."""

import dataclasses

import pytest
from shipped import CATALOG

from app.models.catalog import read_catalog
from app.tools.benchmark.cases import ARCHITECTURES
from app.tools.benchmark.network_report import markdown_table, published_report, report_json
from app.tools.benchmark.networks import BenchmarkOptions, NetworkSpeed, NotMeasured
from app.tools.benchmark.published import (
    DETECTION,
    NETWORK,
    REQUEST,
    PublishedSpeed,
    compare_with_published,
    plan_measurements,
    read_published_speeds,
)
from app.tools.benchmark.stopwatch import Spread

OPTIONS = BenchmarkOptions(batches=(1,), backends=("onnx",))
SQUARE = (640, 640)


def figure(*parts, measures=NETWORK, batch=1):
    return PublishedSpeed("Other", "their net", "a GPU", SQUARE, batch, 5.0, 5.0, measures, parts)


def speed(model, size, batch, prepare, inference, backend="onnx"):
    def flat(value):
        return Spread(value, value, value, value, 3)

    return NetworkSpeed(
        model=model,
        task="detection",
        random_weights=False,
        backend=backend,
        label=backend,
        precision="fp32",
        reason="",
        size=size,
        batch=batch,
        at_once=batch,
        prepare=flat(prepare),
        transfer=None,
        inference=flat(inference),
        decode=flat(0.0),
        total=flat(prepare + inference),
        singly=None,
        memory_mb=1.0,
        gpu_memory_mb=None,
        power_w=None,
    )


@pytest.fixture(scope="module")
def catalog():
    return read_catalog(CATALOG)


def unknown(name):
    return None


@pytest.fixture(scope="module")
def speeds():
    return read_published_speeds()


def test_installed_network_is_preferred_and_each_size_is_measured_once(catalog):
    part = ("retinaface_mnet025",)
    published = [figure(part), figure(part, batch=10), figure(part, measures=DETECTION)]
    ((case, options),) = plan_measurements(published, catalog, OPTIONS, unknown).cases
    assert (case.entry.name, case.random_weights, options.batches) == ("retinaface_mnet025", False, (1, 10))


def test_random_weights_replace_a_network_that_is_not_installed(catalog):
    made = dataclasses.replace(catalog.entries["mobilefacenet"], name="arcface_r100")
    planned = plan_measurements(
        [figure(("glintr100", "arcface_r100"))], catalog, OPTIONS, lambda name: made if name == "arcface_r100" else None
    )
    ((case, _),) = planned.cases
    assert case.random_weights and case.entry is made


def test_a_figure_without_a_network_says_how_to_get_one(catalog):
    published = [figure(("scrfd_10g_kps",)), figure(("marvel",)), figure()]
    planned = plan_measurements(published, catalog, OPTIONS, unknown)
    assert planned.cases == ()
    first, second, third = compare_with_published(published, planned, [])
    assert "engines pull scrfd_10g_kps" in first.reason
    assert "engines import" in second.reason
    assert third.median_ms is None


def test_stages_that_count_depend_on_what_was_published(catalog):
    published = [figure(("retinaface_mnet025",), measures=measures) for measures in (NETWORK, DETECTION, REQUEST)]
    planned = plan_measurements(published, catalog, OPTIONS, unknown)
    outcomes = [speed("retinaface_mnet025", SQUARE, 1, prepare=1.0, inference=4.0)]
    assert [row.median_ms for row in compare_with_published(published, planned, outcomes)] == [4.0, 5.0, 5.0]


def test_times_of_all_networks_are_added(catalog):
    published = [figure(("retinaface_mnet025",), ("mobilefacenet",), measures=REQUEST)]
    planned = plan_measurements(published, catalog, OPTIONS, unknown)
    detector = speed("retinaface_mnet025", SQUARE, 1, prepare=1.0, inference=4.0)
    embedder = speed("mobilefacenet", (112, 112), 1, prepare=0.5, inference=2.0)
    (row,) = compare_with_published(published, planned, [detector, embedder])
    assert row.median_ms == 7.5
    failed = NotMeasured("mobilefacenet", (112, 112), "onnx", "fp32", "out of memory")
    (half,) = compare_with_published(published, planned, [detector, failed])
    assert (half.median_ms, half.reason) == (None, "out of memory")


def test_fastest_of_several_backends_counts(catalog):
    published = [figure(("retinaface_mnet025",))]
    planned = plan_measurements(published, catalog, OPTIONS, unknown)
    slow = speed("retinaface_mnet025", SQUARE, 1, 1.0, 9.0)
    fast = speed("retinaface_mnet025", SQUARE, 1, 1.0, 4.0, backend="openvino")
    (row,) = compare_with_published(published, planned, [slow, fast])
    assert row.median_ms == 4.0 and row.ours[0].backend == "openvino"


def test_report_has_both_figures_and_what_is_missing(catalog):
    published = [figure(("retinaface_mnet025",)), figure(("scrfd_10g_kps",))]
    planned = plan_measurements(published, catalog, OPTIONS, unknown)
    outcomes = [speed("retinaface_mnet025", SQUARE, 1, 1.0, 4.0)]
    found = compare_with_published(published, planned, outcomes)
    text = published_report("a board; 2026-01-02", found, markdown_table)
    assert text.startswith("onnx, fp32; a board; 2026-01-02\n\n"), "complete in itself"
    assert "| network | 5.00 | a GPU | 4.00 / 4.00 | retinaface_mnet025 |" in text
    assert "| network | 5.00 | a GPU | - | - |" in text
    assert "- their net: scrfd_10g_kps" in text
    assert [row["here_ms"] for row in report_json("here", outcomes, found)["published"]] == [4.0, None]


def test_report_marks_random_weights_and_names_the_backends(catalog):
    published = [figure(("retinaface_mnet025",), ("mobilefacenet",))]
    planned = plan_measurements(published, catalog, OPTIONS, unknown)
    random = dataclasses.replace(speed("retinaface_mnet025", SQUARE, 1, 0.0, 4.0), random_weights=True)
    embedder = speed("mobilefacenet", (112, 112), 1, 0.0, 2.0, backend="openvino")
    text = published_report("here", compare_with_published(published, planned, [random, embedder]), markdown_table)
    assert text.startswith("onnx, fp32; openvino, fp32; here\n\n")
    assert "| 6.00 / 6.00 | retinaface_mnet025 *, onnx, fp32 + mobilefacenet, openvino, fp32 |" in text


def test_every_network_to_compare_with_is_known(catalog, speeds):
    named = {name for published in speeds for models in published.parts for name in models}
    assert named <= {*catalog.entries, *catalog.without_file, *ARCHITECTURES}
    assert {"scrfd_2_5g_bnkps", "arcface_r50_v1", "arcface_r100_v1"} <= named


def test_the_published_network_itself_is_measured_if_it_is_installed(speeds):
    """Others of the same speed come later in the list."""
    firsts = {published.network: [models[0] for models in published.parts] for published in speeds}
    expected = {
        "retinaface_r50_v1": ["retinaface_r50_v1"],
        "retinaface_mnet025_v1": ["retinaface_mnet025_v1"],
        "retinaface_mnet025_v2": ["retinaface_mnet025_v2"],
        "mnet_cov2": ["mnet_cov2"],
        "scrfd_500m_bnkps": ["scrfd_500m_bnkps"],
        "scrfd_2.5g_gnkps": ["scrfd_2_5g_gnkps"],
        "arcface_r100_v1": ["arcface_r100_v1"],
        "glintr100": ["glintr100"],
        "retinaface_r50_v1 + arcface_r100_v1": ["retinaface_r50_v1", "arcface_r100_v1"],
        "RetinaNetMobileNetV1": ["dsfd_retinanet_mobilenet"],
        "DSFDDetector": ["dsfd_resnet152"],
    }
    assert {network: firsts[network] for network in expected} == expected


def test_every_row_but_centerface_can_be_measured_without_weights(catalog, speeds):
    made = dataclasses.replace(catalog.entries["retinaface_mnet025"], name="random")
    planned = plan_measurements(speeds, catalog, OPTIONS, lambda name: made if name in ARCHITECTURES else None)
    assert all(published.parts for published in speeds)
    assert set(planned.missing) == {("centerface",)}
    assert all(len(reason.splitlines()) == 1 for reason in planned.missing.values())


def test_published_times_are_plausible(speeds):
    assert len(speeds) == 67
    for published in speeds:
        assert 0 < published.min_ms <= published.max_ms
        assert published.measures in (NETWORK, DETECTION, REQUEST)
        assert published.parts or published.remark


def test_frames_per_second_become_milliseconds(speeds):
    (row,) = [published for published in speeds if published.network == "RetinaFace r50, INT8"]
    assert (row.min_ms, row.max_ms) == (pytest.approx(1000 / 204),) * 2
    (row,) = [
        published for published in speeds if (published.network, published.device) == ("SCRFD 10g", "Jetson Nano, FP16")
    ]
    assert (row.min_ms, row.max_ms) == (pytest.approx(1000 / 6.2), pytest.approx(1000 / 6))
