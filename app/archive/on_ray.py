"""Makes parts on a Ray cluster: the same shards, on many machines that see the same folders."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, Iterator, List, Union

from app.archive.job import Job, Shard
from app.archive.parts import Part
from app.archive.pool import LOOK_EVERY_S, Counts, Made
from app.archive.shard import make_part, open_recognizer
from app.errors import AppError
from app.recognizer import Recognizer
from app.text import install_hint

SHARDS_PER_CORE = 2
"""Handed out at a time, so that no node waits for the next one."""
DEFAULT_TOKEN = Path(".ray") / "auth_token"

_open: Dict[str, Recognizer] = {}
"""By the name of the job: Ray uses a process for one task after the other."""


def require_ray() -> None:
    """Before Ray is imported: its telemetry is off, its token authentication is on. Raises AppError without either Ray
    or a token."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    try:
        import ray  # noqa: F401
    except ImportError as error:
        raise AppError(f"--ray needs Ray, in the cluster's version; install with:\n  {install_hint('ray')}") from error
    has_token = "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ
    if os.environ["RAY_AUTH_MODE"] == "token" and not has_token and not (Path.home() / DEFAULT_TOKEN).is_file():
        raise AppError(
            "a Ray cluster executes any code it gets, so it must ask for a token: make one with `ray get-auth-token "
            f"--generate`, copy ~/{DEFAULT_TOKEN} to all machines, and start Ray on them with RAY_AUTH_MODE=token"
        )


def work_on_ray(job: Job, shards: Iterator[Shard], address: str, on_gpu: bool, stop: threading.Event) -> Iterator[Made]:
    """Makes the parts of these shards on the cluster at this address, and says now and then how far that is.

    A task whose node dies is run again elsewhere. Ends early once `stop` is set. Raises AppError if a part cannot be
    made, or the cluster cannot be reached.
    """
    import ray

    models = replace(job.settings.models, catalog=job.settings.models.catalog.absolute())
    job = replace(job, out=job.out.absolute(), settings=replace(job.settings, models=models))
    try:
        ray.init(address=address, log_to_driver=False, logging_level="error", configure_logging=False)
        make = ray.remote(num_cpus=1, num_gpus=1 if on_gpu else 0, max_retries=-1)(_make)
        shared = ray.put(job)
        running: List[Any] = []
        while True:
            cores = int(ray.cluster_resources().get("CPU", 1))
            while len(running) < SHARDS_PER_CORE * max(1, cores) and not stop.is_set():
                shard = next(shards, None)
                if shard is None:
                    break
                running.append(make.remote(shared, shard))
            if stop.is_set() or not running:
                for task in running:
                    ray.cancel(task)
                return
            done, running = ray.wait(running, timeout=LOOK_EVERY_S)
            answers: List[Union[Part, str]] = ray.get(done)
            for answer in answers:
                if isinstance(answer, str):
                    raise AppError(answer)
            yield Made([answer for answer in answers if isinstance(answer, Part)], Counts())
    except (ray.exceptions.RayError, ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()
        raise AppError(f"the Ray cluster at {address}: {reason[0] if reason else type(error).__name__}") from error
    finally:
        ray.shutdown()


def _make(job: Job, shard: Shard) -> Union[Part, str]:
    """One task: the part, or why it cannot be made."""
    try:
        if job.name not in _open:
            for name in list(_open):
                _open.pop(name).close()
            _open[job.name] = open_recognizer(job)
        part = make_part(job, shard, _open[job.name], lambda row: True)
        assert part is not None, "nothing stopped it"
        return part
    except AppError as error:
        return f"{error} (on {os.uname().nodename})"
