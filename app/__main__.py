"""python -m app"""

from __future__ import annotations

import faulthandler

from app.cli import leave, main

if __name__ == "__main__":
    # A crash in native code, or systemd's watchdog (SIGABRT), shows what each thread was doing.
    faulthandler.enable()
    leave(main())
