"""Jobs for workers: in a module that a fresh process can import."""

import os
import time
from pathlib import Path

from nnunet_ext.errors import ProbabilitiesError
from nnunet_ext.jobs.pool import worker_number


def behave(job: str) -> str:
    """End as the job's name says."""
    if job == "dies":
        os._exit(7)
    if job.startswith("dies once "):
        die_once(Path(job.removeprefix("dies once ")))
    if job == "bad":
        raise ProbabilitiesError("bad bytes")
    if job == "defect":
        raise ZeroDivisionError
    if job.startswith("number"):
        return str(worker_number())
    if job == "slow":
        time.sleep(0.3)
    return job.upper()


def die_once(marker: Path) -> None:
    """End the process, unless one has ended here before."""
    if not marker.exists():
        marker.touch()
        os._exit(7)
