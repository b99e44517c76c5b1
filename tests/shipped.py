"""Where the things lie that this repository ships."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
CATALOG = ROOT / "engines" / "catalog.yaml"
