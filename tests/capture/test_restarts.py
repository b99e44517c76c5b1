"""Processes that read cameras, restarted again and again: `RESTARTS=1000 pytest tests/capture/test_restarts.py`."""

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from handles import held, require_no_more_than
from waiting import PATIENT_S

from app.capture.reader_process import start_reader
from app.capture.uri import parse_source
from app.settings import CaptureSettings
from app.tools.soak.stamp import read_stamp

RESTARTS = int(os.environ.get("RESTARTS", "40"))
AT_ONCE = 4
MAX_MB = 15
SETTINGS = CaptureSettings(open_timeout_s=PATIENT_S, read_timeout_s=PATIENT_S)


def memory_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.slow
@pytest.mark.timeout(600 + 5 * RESTARTS)
def test_restarts_leave_no_process_thread_file_or_memory(http_camera):
    """Every third reader is killed, every third one is stopped and then closed."""

    def once(number):
        reader = start_reader(parse_source(http_camera.address), SETTINGS)
        try:
            reader.finish_opening()
            assert reader.live
            frame = reader.read()
            assert frame is not None and read_stamp(frame.image) is not None
            if number % 3:
                os.kill(reader._process.pid, signal.SIGKILL if number % 3 == 1 else signal.SIGSTOP)
        finally:
            reader.close()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(once, range(2 * AT_ONCE)))
        before, before_mb = held(), memory_mb()
        list(pool.map(once, range(RESTARTS)))
        require_no_more_than(before)
        grown_mb = memory_mb() - before_mb
    sys.stdout.write(f"{RESTARTS} restarts, {grown_mb:+.1f} MB; open files, threads, processes: {before}\n")
    assert grown_mb < MAX_MB
