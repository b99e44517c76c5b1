"""How long `serve` takes from its start to its first answer."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from typing import Callable, List, Sequence

from app.errors import SettingsError

TRY_AGAIN_AFTER_S = 0.01
END_WITHIN_S = 30.0


def first_answers_s(
    words: Sequence[str], port: int, starts: int, on_start: Callable[[int, int], object]
) -> List[float]:
    """Starts `serve` with these options in a process of its own, so many times, until it has found a face.

    Raises SettingsError if it ends instead.
    """
    times = []
    for done in range(starts):
        on_start(done, starts)
        times.append(_first_answer_s([*words, "--port", str(port)], f"http://127.0.0.1:{port}/health"))
    return times


def start_line(times: Sequence[float]) -> str:
    more = f" (median of {len(times)} starts, {min(times):.2f} to {max(times):.2f} s)" if len(times) > 1 else ""
    return f"first answer after {statistics.median(times):.2f} s{more}"


def _first_answer_s(words: Sequence[str], address: str) -> float:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        begin = time.perf_counter()
        process = subprocess.Popen([sys.executable, "-m", "app", "serve", *words], stdout=log, stderr=log)
        try:
            while process.poll() is None:
                try:
                    # It answers when it has found a face in a picture of its own.
                    with opener.open(address, timeout=END_WITHIN_S):
                        return time.perf_counter() - begin
                except OSError:
                    time.sleep(TRY_AGAIN_AFTER_S)
            log.seek(0)
            said = log.read().strip().splitlines() or ["it said nothing"]
            raise SettingsError(f"the server ended with exit code {process.returncode}: {said[-1]}")
        finally:
            process.terminate()
            try:
                process.wait(END_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
