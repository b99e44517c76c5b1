"""What comparable programs publish of their speed, row by row, and with which of our networks each row compares.

These are their figures, on their devices, as they stand in their documents; this project measured none of them. Figures
in frames a second are turned into milliseconds a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Tuple

from app.tools.benchmark.subjects import Size

REQUEST = "request"
"""From the picture's arrival over HTTP to the answer."""
DETECTION = "detection"
"""With the picture's preparation and the reading of the outputs."""
NETWORK = "network"
"""The network alone."""


@dataclass(frozen=True)
class Part:
    """One network of a row; the first of `models` that is here is measured."""

    models: Tuple[str, ...]
    size: Size


@dataclass(frozen=True)
class Claim:
    """One published figure."""

    program: str
    network: str
    device: str
    size: Size
    batch: int
    least_ms: float
    most_ms: float
    counts: str
    """What the time is for: REQUEST, DETECTION or NETWORK."""
    parts: Tuple[Part, ...]
    """Ours to compare with, whose times are added up; none where this project has no such network."""
    remark: str = ""


_IFR = "InsightFace-REST"
_RTX2080S = "RTX 2080 Super, FP16"
_UNNAMED_GPU = "a GPU, not named"
_DSFD = "DSFD-Pytorch-Inference"
_WIDE: Size = (640, 480)
_SQUARE: Size = (640, 640)
_SMALL: Size = (200, 200)
_FACE: Size = (112, 112)

_RETINAFACE_R50 = ("retinaface_r50",)
_RETINAFACE_MNET = ("retinaface_mnet025",)
_ARCFACE_R50 = ("arcface_r50_v1", "w600k_r50", "arcface_r50")
_ARCFACE_R100 = ("arcface_r100_v1", "glintr100", "arcface_r100")
_MOBILEFACENET = ("w600k_mbf", "mobilefacenet")
_SCRFD_500M = ("scrfd_500m_bnkps", "det_500m", "scrfd_500m_kps", "scrfd_500m")
_SCRFD_2500M = ("scrfd_2_5g_bnkps", "det_2_5g", "scrfd_2.5g")
_SCRFD_10G = ("scrfd_10g_bnkps", "det_10g", "scrfd_10g_kps", "scrfd_10g")

_MXNET = "MXNet's variant"


def _itself_or(network: str, alike: Tuple[str, ...]) -> Tuple[str, ...]:
    """The published network as the catalogue calls it, then those of the same size and work."""
    return tuple(dict.fromkeys((network.replace(".", "_"), *alike)))


def _on_faces(models: Tuple[str, ...]) -> Tuple[Part, ...]:
    return (Part(models, _FACE),)


def _insightface_rest_requests() -> List[Claim]:
    faces = _on_faces(_ARCFACE_R100)
    retinaface = _itself_or("retinaface_r50_v1", _RETINAFACE_R50)
    small, wide = Part(retinaface, _SMALL), Part(retinaface, (1400, 640))
    rows = [
        ("retinaface_r50_v1", _SMALL, 1, 10, 20, (small,), _MXNET),
        ("retinaface_r50_v1", _SMALL, 10, 60, 70, (small,), _MXNET),
        ("arcface_r100_v1", _FACE, 1, 12, 20, faces, ""),
        ("arcface_r100_v1", _FACE, 10, 60, 70, faces, ""),
        ("retinaface_r50_v1 + arcface_r100_v1", _SMALL, 1, 18, 30, (small, *faces), "one face a picture"),
        ("retinaface_r50_v1 + arcface_r100_v1", _SMALL, 10, 130, 150, (small, *faces), "one face a picture"),
        ("retinaface_r50_v1 + arcface_r100_v1", (1400, 640), 1, 50, 50, (wide, *faces), "number of faces not told"),
    ]
    return [
        Claim(_IFR, network, _UNNAMED_GPU, size, batch, least, most, REQUEST, parts, remark)
        for network, size, batch, least, most, parts, remark in rows
    ]


def _insightface_rest_detectors() -> List[Claim]:
    rows = [
        ("retinaface_r50_v1", 12.3, 8.4, _RETINAFACE_R50, _MXNET),
        ("retinaface_mnet025_v1", 8.6, 4.6, _RETINAFACE_MNET, _MXNET),
        ("retinaface_mnet025_v2", 8.8, 4.9, _RETINAFACE_MNET, _MXNET),
        ("mnet_cov2", 8.7, 4.6, _RETINAFACE_MNET, "tells masks, too"),
        ("centerface", 10.6, 3.5, (), ""),
        ("scrfd_10g_bnkps", 3.3, 2.0, _SCRFD_10G, ""),
        ("scrfd_2.5g_bnkps", 2.2, 1.1, _SCRFD_2500M, ""),
        ("scrfd_500m_bnkps", 1.9, 0.8, _SCRFD_500M, ""),
        ("scrfd_10g_gnkps", 3.3, 2.2, _SCRFD_10G, "with group normalisation"),
        ("scrfd_2.5g_gnkps", 2.3, 1.2, _SCRFD_2500M, "with group normalisation"),
        ("scrfd_500m_gnkps", 2.1, 1.3, _SCRFD_500M, "with group normalisation"),
    ]
    return [
        Claim(
            _IFR, network, _RTX2080S, _SQUARE, 1, spent, spent, counts, (Part(_itself_or(network, alike), _SQUARE),),
            remark,
        )
        for network, detection, inference, alike, remark in rows
        for counts, spent in ((DETECTION, detection), (NETWORK, inference))
    ]  # fmt: skip


def _insightface_rest_embedders() -> List[Claim]:
    rows = [
        ("arcface_r100_v1", 2.6, 54.8, _ARCFACE_R100),
        ("glintr100", 2.6, 54.7, _ARCFACE_R100),
        ("w600k_r50", 1.9, 33.2, _ARCFACE_R50),
        ("w600k_mbf", 0.7, 9.9, _MOBILEFACENET),
    ]
    return [
        Claim(_IFR, network, _RTX2080S, _FACE, batch, spent, spent, NETWORK, _on_faces(_itself_or(network, alike)))
        for network, one, sixty_four, alike in rows
        for batch, spent in ((1, one), (64, sixty_four))
    ]


def _arcface_torch() -> List[Claim]:
    return [
        Claim(
            "arcface_torch",
            "ms1mv3 r50",
            "a CPU, not named",
            _FACE,
            batch,
            least,
            most,
            NETWORK,
            _on_faces(_ARCFACE_R50),
        )
        for batch, least, most in ((1, 100, 200), (10, 600, 800))
    ]


def _dsfd() -> List[Claim]:
    r50, mnet = "RetinaNetResNet50", "RetinaNetMobileNetV1"
    r50_models = _itself_or("dsfd_retinanet_resnet50", _RETINAFACE_R50)
    mnet_models = _itself_or("dsfd_retinanet_mobilenet", _RETINAFACE_MNET)
    rows = [
        (r50, _UNNAMED_GPU, _SMALL, 1, 8.0, r50_models),
        (r50, _UNNAMED_GPU, _SMALL, 10, 38.0, r50_models),
        ("DSFDDetector", "Intel i7, 2.2 GHz", (1024, 687), 1, 17496.0, ()),
        (r50, "Intel i7, 2.2 GHz", (1024, 687), 1, 2970.0, r50_models),
        (mnet, "Intel i7, 2.2 GHz", (1024, 687), 1, 270.0, mnet_models),
        ("DSFDDetector", "GTX 1060", (1024, 687), 1, 341.0, ()),
        (r50, "GTX 1060", (1024, 687), 1, 76.6, r50_models),
        (mnet, "GTX 1060", (1024, 687), 1, 48.2, mnet_models),
        ("DSFDDetector", "Tesla T4", (1024, 687), 1, 482.0, ()),
        (r50, "Tesla T4", (1024, 687), 1, 181.0, r50_models),
        (mnet, "Tesla T4", (1024, 687), 1, 178.0, mnet_models),
        ("DSFDDetector", "Tesla V100", (1024, 687), 1, 100.0, ()),
    ]
    return [
        Claim(
            _DSFD, network, device, size, batch, spent, spent, DETECTION, (Part(models, size),) if models else (),
            "" if models else "this project has no DSFD network",
        )
        for network, device, size, batch, spent, models in rows
    ]  # fmt: skip


def _tensorrtx() -> List[Claim]:
    wide = "input size not told, taken as 640x480"
    rows = [
        ("RetinaFace r50, FP32", "GTX 1080", _WIDE, 1000 / 90, _RETINAFACE_R50, "90 frames/s"),
        ("RetinaFace r50, INT8", "GTX 1080", _WIDE, 1000 / 204, _RETINAFACE_R50, "204 frames/s"),
        ("RetinaFace mnet0.25, FP32", "GTX 1080", _WIDE, 1000 / 417, _RETINAFACE_MNET, "417 frames/s"),
        ("ArcFace r50, FP32", "GTX 1080", _FACE, 1000 / 333, _ARCFACE_R50, "333 frames/s"),
        ("ArcFace r50, from .wts", "Jetson AGX Xavier", _FACE, 10.0, _ARCFACE_R50, ""),
        ("ArcFace r50, from .wts", "Jetson Nano", _FACE, 70.0, _ARCFACE_R50, ""),
        ("ArcFace r50, from ONNX", "Jetson AGX Xavier", _FACE, 9.0, _ARCFACE_R50, ""),
        ("ArcFace r50, from ONNX", "Jetson Nano", _FACE, 65.0, _ARCFACE_R50, ""),
        ("RetinaFace r50, from .wts", "Jetson AGX Xavier", _WIDE, 17.0, _RETINAFACE_R50, wide),
        ("RetinaFace r50, from .wts", "Jetson Nano", _WIDE, 190.0, _RETINAFACE_R50, wide),
    ]
    return [
        Claim("tensorrtx", network, device, size, 1, spent, spent, NETWORK, (Part(models, size),), remark)
        for network, device, size, spent, models, remark in rows
    ]


def _scrfd_tensorrt() -> List[Claim]:
    rows = [
        ("SCRFD 500m", "Jetson Nano, FP16", 20.2, 21.6, _SCRFD_500M),
        ("SCRFD 2.5g", "Jetson Nano, FP16", 12.9, 13.6, _SCRFD_2500M),
        ("SCRFD 10g", "Jetson Nano, FP16", 6.0, 6.2, _SCRFD_10G),
        ("SCRFD 500m", "Jetson Xavier NX, FP16", 58.4, 64.0, _SCRFD_500M),
        ("SCRFD 2.5g", "Jetson Xavier NX, FP16", 49.7, 58.4, _SCRFD_2500M),
        ("SCRFD 10g", "Jetson Xavier NX, FP16", 25.9, 28.7, _SCRFD_10G),
    ]
    return [
        Claim(
            "SCRFD_FaceDetection_TensorRT", network, device, _SQUARE, 1, 1000 / fastest, 1000 / slowest, DETECTION,
            (Part(models, _SQUARE),), f"{slowest:g} to {fastest:g} frames/s",
        )
        for network, device, slowest, fastest, models in rows
    ]  # fmt: skip


CLAIMS: Tuple[Claim, ...] = (
    *_insightface_rest_requests(),
    *_insightface_rest_detectors(),
    *_insightface_rest_embedders(),
    *_arcface_torch(),
    *_dsfd(),
    *_tensorrtx(),
    *_scrfd_tensorrt(),
)
