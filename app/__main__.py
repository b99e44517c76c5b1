"""python -m app"""

from __future__ import annotations

from app.cli import leave, main

if __name__ == "__main__":
    leave(main())
