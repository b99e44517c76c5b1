"""A program to kill: visits become events, which are logged and delivered as the settings file says."""

import sys
from pathlib import Path

from made_results import ANN, frame, result, track
from waiting import PATIENT_S

from app.events.delivery import Delivery
from app.events.opening import open_events
from app.settings.reader import load_settings

# A busy machine may need longer for what several lives have left.
Delivery.__init__.__kwdefaults__["flush_s"] = PATIENT_S
publisher = open_events(load_settings(Path(sys.argv[1])))
number = 0
while True:
    number += 1
    publisher.handle(result(frame(number), tracks=[track(number, ANN)] if number % 3 else []))
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()
    if sys.stdin.readline() == "":
        break
publisher.close()
