"""Adds to a wheel what a clone has next to `app/`: the built-in models and the template of the settings."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = (
    "config.yaml",
    "engines/catalog.yaml",
    "engines/genderage_utk.onnx",
    "engines/mask_drawn.onnx",
    "engines/mobilefacenet.onnx",
    "engines/mobilefacenet_reference.npz",
    "engines/retinaface_mnet025.onnx",
    "engines/retinaface_mnet025_int8.onnx",
    "engines/scrfd_500m.onnx",
    "gallery/README.md",
)


class BuildWithModels(build_py):
    def run(self) -> None:
        super().run()
        if getattr(self, "editable_mode", False):
            return
        for name in SHIPPED:
            target = Path(self.build_lib, "app", "shipped", name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(name, target)


if __name__ == "__main__":
    setup(cmdclass={"build_py": BuildWithModels})
