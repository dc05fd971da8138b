"""Trainings in several processes, on one machine or more: each one's device, and what they agree on."""

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
    """The device of this process among several.

    Args:
        kind: of the device that was asked for. nnU-Net starts several processes on GPUs only and numbers
            these by rank, which is right on one machine; torchrun says which GPU of its machine it is.
    """
    if kind != "cuda":
        return torch.device(kind)
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", distributed.get_rank())))


@contextmanager
def joined(kind: str) -> Iterator[None]:
    """Be one of the processes that torchrun started: NCCL on GPUs, gloo elsewhere.

    After an error the group is not taken down: that waits for the other ranks, which wait for this one.
    The process ends, and with it its connections, by which torchrun and the others learn of it.
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
    """Let a module of nnU-Net's find another value under one of its names within the block."""
    original = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, original)


@contextmanager
def wrapped_for(device: torch.device) -> Iterator[None]:
    """Let nnU-Net wrap its network for this device; it takes a process's rank for the number of its GPU."""
    original = nnunets_module.DDP

    def wrap(network: torch.nn.Module, device_ids: list[int]) -> Any:
        return original(network, device_ids=None if device.type == "cpu" else [device.index])

    with replaced(nnunets_module, "DDP", wrap):
        yield


def said_by_first(value: T) -> T:
    """What rank 0 holds, for all ranks; alone, the value itself."""
    if not distributed.is_initialized():
        return value
    values = [value]
    distributed.broadcast_object_list(values)
    return values[0]


def is_so_anywhere(so: bool, device: torch.device) -> bool:
    """Whether it is so on any rank: a cheap question, for every iteration."""
    if not distributed.is_initialized():
        return so
    flag = torch.tensor(int(so), device=device)
    distributed.all_reduce(flag, distributed.ReduceOp.MAX)
    return bool(flag.item())
