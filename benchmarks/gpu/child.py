"""`nnunet_ext`, in which a backward pass fails, broadcasts are counted or the last validation is left out.

    python child.py --fail memory --after 2 -- train -d 990 ...

Stands in for a real failure where that cannot be had: a CPU has no memory of a GPU that could run out.
"""

from __future__ import annotations

import argparse
import atexit
import sys
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import distributed

from nnunet_ext.cli.main import main as nnunet_ext

ERRORS = {"memory": torch.OutOfMemoryError, "error": RuntimeError}


def main() -> int:
    """Patch torch, then run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fail", choices=ERRORS)
    parser.add_argument("--after", type=int, default=2, help="backward passes before the one that fails")
    parser.add_argument("--count_broadcasts", action="store_true")
    parser.add_argument("--no_validation", action="store_true", help="end once the training is done")
    own, rest = sys.argv[1:], []
    if "--" in own:
        own, rest = own[: own.index("--")], own[own.index("--") + 1 :]
    args = parser.parse_args(own)
    if args.fail:
        fail_in_backward(ERRORS[args.fail], args.after)
    if args.count_broadcasts:
        count_broadcasts()
    if args.no_validation:
        nnUNetTrainer.perform_actual_validation = lambda *_: None
    return nnunet_ext(rest)


def fail_in_backward(error: type[Exception], after: int) -> None:
    """Let the backward pass raise an error after a number of passes."""
    backward = torch.Tensor.backward
    done: list[int] = []

    def failing(self: torch.Tensor, *args: Any, **kwargs: Any) -> None:
        if len(done) == after:
            raise error("planted: out of memory" if error is not RuntimeError else "planted")
        done.append(1)
        backward(self, *args, **kwargs)

    torch.Tensor.backward = failing


def count_broadcasts() -> None:
    """Print at the end the number of broadcasts."""
    broadcast = distributed.broadcast_object_list
    counted: list[int] = []

    def counting(*args: Any, **kwargs: Any) -> None:
        counted.append(1)
        broadcast(*args, **kwargs)

    distributed.broadcast_object_list = counting
    atexit.register(lambda: print(f"broadcasts: {len(counted)}", flush=True))


if __name__ == "__main__":
    sys.exit(main())
