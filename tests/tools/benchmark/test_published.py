"""Published rows meet this machine's figures: installed networks first, else random weights, else the reason."""

import dataclasses

import pytest
from shipped import CATALOG

from app.models.catalog import read_catalog
from app.tools.benchmark.claims import CLAIMS, DETECTION, NETWORK, REQUEST, Claim, Part
from app.tools.benchmark.network_report import markdown_table, published_report, report_json
from app.tools.benchmark.networks import Demand, NetworkSpeed, NotMeasured
from app.tools.benchmark.published import plan, rows
from app.tools.benchmark.stopwatch import Spread
from app.tools.benchmark.subjects import ARCHITECTURES

DEMAND = Demand(batches=(1,), backends=("onnx",))
SQUARE = (640, 640)


def claim(parts, counts=NETWORK, batch=1):
    return Claim("Other", "their net", "a GPU", SQUARE, batch, 5.0, 5.0, counts, parts)


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


def test_installed_network_is_taken_and_each_size_is_measured_once(catalog):
    part = Part(("retinaface_mnet025",), SQUARE)
    planned = plan([claim((part,)), claim((part,), batch=10), claim((part,), DETECTION)], catalog, DEMAND, unknown)
    ((subject, demand),) = planned.subjects
    assert (subject.entry.name, subject.random_weights, demand.batches) == ("retinaface_mnet025", False, (1, 10))


def test_random_weights_stand_in_for_what_is_not_installed(catalog):
    made = dataclasses.replace(catalog.entries["mobilefacenet"], name="arcface_r100")
    planned = plan(
        [claim((Part(("glintr100", "arcface_r100"), (112, 112)),))],
        catalog,
        DEMAND,
        lambda name: made if name == "arcface_r100" else None,
    )
    ((subject, _),) = planned.subjects
    assert subject.random_weights and subject.entry is made


def test_row_whose_network_is_nowhere_says_how_to_get_it(catalog):
    pullable, unheard_of = Part(("scrfd_10g_kps",), SQUARE), Part(("marvel",), SQUARE)
    claims = [claim((pullable,)), claim((unheard_of,)), claim(())]
    planned = plan(claims, catalog, DEMAND, unknown)
    assert planned.subjects == ()
    first, second, third = rows(claims, planned, [])
    assert "engines pull scrfd_10g_kps" in first.reason
    assert "engines import" in second.reason
    assert third.ours_ms is None


def test_what_a_claim_counts_decides_what_is_compared(catalog):
    part = Part(("retinaface_mnet025",), SQUARE)
    claims = [claim((part,), counts) for counts in (NETWORK, DETECTION, REQUEST)]
    planned = plan(claims, catalog, DEMAND, unknown)
    found = rows(claims, planned, [speed("retinaface_mnet025", SQUARE, 1, prepare=1.0, inference=4.0)])
    assert [row.ours_ms for row in found] == [4.0, 5.0, 5.0]


def test_parts_of_a_row_are_added_up(catalog):
    parts = (Part(("retinaface_mnet025",), SQUARE), Part(("mobilefacenet",), (112, 112)))
    claims = [claim(parts, REQUEST)]
    planned = plan(claims, catalog, DEMAND, unknown)
    detector = speed("retinaface_mnet025", SQUARE, 1, prepare=1.0, inference=4.0)
    embedder = speed("mobilefacenet", (112, 112), 1, prepare=0.5, inference=2.0)
    (row,) = rows(claims, planned, [detector, embedder])
    assert row.ours_ms == 7.5
    (half,) = rows(claims, planned, [detector, NotMeasured("mobilefacenet", (112, 112), "onnx", "fp32", "no memory")])
    assert (half.ours_ms, half.reason) == (None, "no memory")


def test_fastest_of_several_backends_speaks_for_the_machine(catalog):
    part = Part(("retinaface_mnet025",), SQUARE)
    claims = [claim((part,))]
    planned = plan(claims, catalog, DEMAND, unknown)
    slow = speed("retinaface_mnet025", SQUARE, 1, 1.0, 9.0)
    fast = speed("retinaface_mnet025", SQUARE, 1, 1.0, 4.0, backend="openvino")
    (row,) = rows(claims, planned, [slow, fast])
    assert row.ours_ms == 4.0 and row.ours[0].backend == "openvino"


def test_report_names_their_device_and_what_is_missing(catalog):
    claims = [claim((Part(("retinaface_mnet025",), SQUARE),)), claim((Part(("scrfd_10g_kps",), SQUARE),))]
    planned = plan(claims, catalog, DEMAND, unknown)
    outcomes = [speed("retinaface_mnet025", SQUARE, 1, 1.0, 4.0)]
    found = rows(claims, planned, outcomes)
    text = published_report("a board; 2026-01-02", found, markdown_table)
    assert text.startswith("onnx, fp32; a board; 2026-01-02\n\n"), "to be taken into a document as it is"
    assert "| network | 5.00 | a GPU | 4.00 / 4.00 | retinaface_mnet025 |" in text
    assert "| network | 5.00 | a GPU | - | - |" in text
    assert "- their net: scrfd_10g_kps is not here" in text
    published = report_json("here", outcomes, found)["published"]
    assert [row["here_ms"] for row in published] == [4.0, None]


def test_report_marks_random_weights_and_tells_backends_apart(catalog):
    parts = (Part(("retinaface_mnet025",), SQUARE), Part(("mobilefacenet",), (112, 112)))
    claims = [claim(parts)]
    planned = plan(claims, catalog, DEMAND, unknown)
    drawn = dataclasses.replace(speed("retinaface_mnet025", SQUARE, 1, 0.0, 4.0), random_weights=True)
    found = rows(claims, planned, [drawn, speed("mobilefacenet", (112, 112), 1, 0.0, 2.0, backend="openvino")])
    text = published_report("here", found, markdown_table)
    assert text.startswith("onnx, fp32; openvino, fp32; here\n\n")
    assert "| 6.00 / 6.00 | retinaface_mnet025 *, onnx, fp32 + mobilefacenet, openvino, fp32 |" in text


def test_every_network_to_compare_with_can_be_here_or_be_drawn_by_lot(catalog):
    named = {name for published in CLAIMS for part in published.parts for name in part.models}
    assert named <= {*catalog.entries, *catalog.without_file, *ARCHITECTURES}
    assert {"scrfd_2_5g_bnkps", "arcface_r50_v1", "arcface_r100_v1"} <= named


def test_the_published_network_itself_is_measured_where_somebody_has_imported_it(catalog):
    """What stands in for it comes later."""
    firsts = {published.network: [part.models[0] for part in published.parts] for published in CLAIMS}
    by_hand = {
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
    }
    assert {network: firsts[network] for network in by_hand} == by_hand


def test_every_row_but_centerface_and_dsfd_can_be_filled_without_any_weights(catalog):
    made = dataclasses.replace(catalog.entries["retinaface_mnet025"], name="by lot")
    planned = plan(CLAIMS, catalog, DEMAND, lambda name: made if name in ARCHITECTURES else None)
    assert {published.network for published in CLAIMS if not published.parts} == {"DSFDDetector"}
    assert set(planned.missing) == {("centerface",)}
    assert all(len(reason.splitlines()) == 1 for reason in planned.missing.values())


def test_every_published_figure_is_a_sensible_time():
    assert len(CLAIMS) > 50
    for published in CLAIMS:
        assert 0 < published.least_ms <= published.most_ms
        assert published.counts in (NETWORK, DETECTION, REQUEST)
        assert published.parts or published.remark
