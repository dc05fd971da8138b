"""Trainings in several processes (ranks), on one machine or more: their devices and common decisions."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as nnunets_module
from torch import distributed

T = TypeVar("T")


def device_of_rank(kind: str) -> torch.device:
    """Find the device of this rank.

    nnU-Net takes the rank for the number of the GPU, which is right on one machine only. torchrun gives the
    number of the GPU on its machine in `LOCAL_RANK`.

    Args:
        kind: kind of the device: cuda, cpu or mps.
    """
    if kind != "cuda":
        return torch.device(kind)
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", distributed.get_rank())))


@contextmanager
def process_group(kind: str) -> Iterator[None]:
    """Join the process group of the ranks that torchrun started: NCCL on GPUs, gloo elsewhere.

    After an error the group is not destroyed: that would wait for the other ranks, which wait for this one.
    The process ends instead, and torchrun and the other ranks notice its closed connections.
    """
    if kind == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
        distributed.init_process_group("nccl", device_id=device)
    else:
        distributed.init_process_group("gloo")
    yield
    distributed.destroy_process_group()


@contextmanager
def replaced(module: Any, name: str, value: Any) -> Iterator[None]:
    """Replace a name in a module of nnU-Net within the block."""
    original = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, original)


@contextmanager
def wrapped_for(device: torch.device) -> Iterator[None]:
    """Make nnU-Net wrap its network for this device; it would take the rank for the number of the GPU."""
    original = nnunets_module.DDP

    def wrap(network: torch.nn.Module, device_ids: list[int]) -> Any:
        return original(network, device_ids=None if device.type == "cpu" else [device.index])

    with replaced(nnunets_module, "DDP", wrap):
        yield


def said_by_first(value: T) -> T:
    """Send rank 0's value to all ranks; in a single process, the value itself."""
    if not distributed.is_initialized():
        return value
    values = [value]
    distributed.broadcast_object_list(values)
    return values[0]


def is_so_anywhere(so: bool, device: torch.device) -> bool:
    """Whether `so` is true on any rank; quick enough for every iteration."""
    if not distributed.is_initialized():
        return so
    flag = torch.tensor(int(so), device=device)
    distributed.all_reduce(flag, distributed.ReduceOp.MAX)
    return bool(flag.item())
