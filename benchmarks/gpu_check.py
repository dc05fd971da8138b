"""Checks that need a GPU: precision, memory, speed and endings of trainings, and prediction.

    python benchmarks/gpu_check.py --json gpu_check.json
    python benchmarks/gpu_check.py --parts 1 4
    python benchmarks/gpu_check.py --device cpu --small

Prints the machine, then one line a check: PASS or FAIL, or INFO where it is only a figure; the number of its
part, its name, value and limit. Exit code 1 where one failed. `gpu_check.md` beside this file says what each
part means, and how to run it on a machine without a network.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from gpu.driver import ORDER, PARTS, run_parts, serve


def main() -> int:
    """Parse the options and run; as a worker, run the parts named on standard input."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    listed = "; ".join(f"{number} {part.title}" for number, part in PARTS.items())
    parser.add_argument(
        "--parts", type=int, nargs="+", default=list(ORDER), choices=PARTS, metavar="N", help=listed
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="tiny sizes; times and memory are not judged")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all checks to this file, too")
    parser.add_argument("--minutes", type=float, default=8.0, help="for all parts together (default: 8)")
    parser.add_argument("--threads", type=int, help="of torch on the CPU (default: torch's choice)")
    parser.add_argument("--work", type=Path, help="folder to keep; otherwise one that is thrown away")
    parser.add_argument("--log", type=Path, metavar="FILE", help="what trainings say (default: in --work)")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--warm", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return serve(
            args.log, args.device, args.work, is_small=args.small, threads=args.threads, warmed=args.warm
        )
    with tempfile.TemporaryDirectory(prefix="nnunet_ext_gpu_", ignore_cleanup_errors=True) as temporary:
        work = (args.work or Path(temporary)).absolute()
        return check(args, work)


def check(args: argparse.Namespace, work: Path) -> int:
    """Run the parts, print a summary and write the JSON file."""
    began = time.monotonic()
    arguments = ["--device", args.device, "--work", str(work), *(["--small"] if args.small else [])]
    arguments += ["--threads", str(args.threads)] if args.threads else []
    log = (args.log or work / "gpu_check.log").absolute()
    run = run_parts(args.parts, arguments, log, args.minutes, is_small=args.small)
    verdicts = [one.verdict for one in run.checks]
    counted = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in ("PASS", "FAIL", "INFO"))
    of_parts = ", ".join(f"{number}: {seconds:.0f}" for number, seconds in run.seconds.items())
    print(f"{counted} in {time.monotonic() - began:.0f} s (seconds by part: {of_parts})")
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(run.content(), indent=1), encoding="utf-8")
    return int(run.has_failed)


if __name__ == "__main__":
    sys.exit(main())
