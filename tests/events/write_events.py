"""A program to kill: writes visits to the log until it dies, and prints the number of each event after its write."""

import sys
from pathlib import Path

from made_results import ANN, STRANGER, frame, result, track

from app.events.log import EventLog
from app.events.stream import EventStream

log = EventLog(Path(sys.argv[1]))
stream = EventStream(log.sequence)
number = 0
while True:
    number += 1
    there = [track(at, ANN if at % 2 else STRANGER) for at in range(number, number + 1 + number % 4)]
    for event in stream.handle(result(frame(number), tracks=there)):
        log.write(event)
        sys.stdout.write(f"{event.sequence}\n")
        sys.stdout.flush()
