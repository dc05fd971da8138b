"""Finds the trainings that run on this machine by the command lines of its processes."""

from __future__ import annotations

import os
import re
import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nnunet_ext.nnunet.folders import is_dataset
from nnunet_ext.nnunet.model_folder import FoldFolder
from nnunet_ext.trainers.record.process import RecordedProcess

if TYPE_CHECKING:
    import psutil

# missing: no process looks like the training, but one that does not tell what it runs may be it.
Life = Literal["alive", "gone", "missing", "unknown"]
SAME_START_S = 60.0  # tolerance when start times of a process are compared; the clock may have been set
NNUNET_COMMAND = re.compile(
    r"(?:^|[\\/])(?:nnUNetv2_train(?:\.exe|-script\.py)?|run_training\.py)$|^nnunetv2\.run\.run_training$"
)
OUR_COMMAND = re.compile(r"(?:^|[\\/])nnunet_ext(?:\.exe|-script\.py|[\\/]__main__\.py)?$")
NOTEBOOK = re.compile("ipykernel|jupyter|ipython|colab", re.IGNORECASE)
PYTHON = re.compile(r"(?:i?python|jupyter|pt_main_thread)", re.IGNORECASE)
DEFAULT_TRAINER, OUR_DEFAULT_TRAINER, DEFAULT_PLANS = "nnUNetTrainer", "nnUNetTrainerExt", "nnUNetPlans"
# A training imports torch for seconds before it begins its log; its workers start within a second. The
# system's start times of processes are wrong by up to a second.
IMPORTING_S = 1.0
LEFT_BEHIND_S = 60.0
ASKED = ["pid", "ppid", "name", "cmdline", "create_time", "status"]
DEAD = ("zombie", "dead")  # psutil's states of processes that have ended but are still listed


@dataclass(frozen=True, kw_only=True)
class TrainingCommand:
    """A training as its command line names it."""

    dataset: str
    configuration: str
    fold: str
    trainer: str
    plans: str

    def is_of(self, fold: FoldFolder) -> bool:
        """Whether the command trains the fold."""
        named = (self.configuration, self.fold, self.trainer, self.plans)
        return named == (fold.configuration, fold.fold, fold.trainer, fold.plans) and is_dataset(
            self.dataset, fold.dataset
        )


@dataclass(frozen=True)
class TrainingProcess:
    """A process whose command line is that of a training.

    Attributes:
        training: the training on its command line.
        began: its start, in seconds since 1970.
        n_workers: the number of processes that it has started.
    """

    training: TrainingCommand
    began: float
    n_workers: int = 0


@dataclass(frozen=True)
class OtherProcess:
    """A Python process that may be a training although its command line does not tell.

    Attributes:
        began: its start, in seconds since 1970.
        is_likely: whether it is a notebook, has nnU-Net's variables set, or cannot be examined.
    """

    began: float
    is_likely: bool = True


@dataclass(frozen=True)
class Processes:
    """The processes of a machine.

    Attributes:
        host: the machine's name.
        trainings: the processes of trainings; a worker that lost its parent looks like one, too.
        others: processes that may be trainings.
        started: the start of each living process by its pid, in seconds since 1970.
    """

    host: str
    trainings: tuple[TrainingProcess, ...] = ()
    others: tuple[OtherProcess, ...] = ()
    started: Mapping[int, float] = field(default_factory=dict)

    def life_of(self, writer: RecordedProcess) -> Life:
        """Whether a process that recorded itself still runs; `unknown` on another machine than its own."""
        if writer.host != self.host:
            return "unknown"
        started = self.started.get(writer.pid)
        return "alive" if started is not None and abs(started - writer.began) < SAME_START_S else "gone"

    def life(self, fold: FoldFolder, host: str | None, began: float | None) -> Life:
        """Whether the process that wrote a fold's newest log still runs.

        Args:
            fold: the fold.
            host: the machine on which it was trained, as its debug.json tells.
            began: the time at which the log was begun. A process is older than the log it writes; workers
                that a killed training left behind are not.
        """
        if began is None:
            return "unknown"
        if self._writer(fold, began) is not None:
            return "alive"
        if any(one.training.is_of(fold) and one.began < began + LEFT_BEHIND_S for one in self.trainings):
            return "gone"
        if host != self.host:
            return "unknown"
        others = [one for one in self.others if one.began < began]
        if not others:
            return "gone"
        return "unknown" if any(one.is_likely for one in others) else "missing"

    def n_workers(self, fold: FoldFolder, began: float | None) -> int | None:
        """The number of processes that the training of a fold has started; None where it is not found."""
        writer = None if began is None else self._writer(fold, began)
        return None if writer is None else writer.n_workers

    def _writer(self, fold: FoldFolder, began: float) -> TrainingProcess | None:
        """The youngest process that may write the log begun then; Windows' launcher is older."""
        latest = began - IMPORTING_S
        older = (one for one in self.trainings if one.training.is_of(fold) and one.began < latest)
        return max(older, key=lambda one: one.began, default=None)


def find_processes() -> Processes:
    """List the trainings among all processes of this machine."""
    import psutil

    found = list(psutil.process_iter(ASKED))
    n_children = Counter(process.info["ppid"] for process in found)
    commands = {process.info["pid"]: process.info["cmdline"] for process in found}
    trainings, others, started = [], [], {}
    for process in found:
        pid, began, command = (process.info[name] for name in ("pid", "create_time", "cmdline"))
        if began is not None and process.info["status"] not in DEAD:
            started[pid] = began
        if (
            not command
            or began is None
            or pid == os.getpid()
            or commands.get(process.info["ppid"]) == command
        ):
            continue  # forked workers have the command line of their parent
        training = parse_command(command)
        if training is not None:
            trainings.append(TrainingProcess(training, began, n_children[pid]))
        elif PYTHON.match(process.info["name"] or Path(command[0]).name) and not _is_known(command):
            others.append(OtherProcess(began, _is_likely(process, command)))
    return Processes(socket.gethostname(), tuple(trainings), tuple(others), started)


def _is_likely(process: psutil.Process, command: Sequence[str]) -> bool:
    import psutil

    if any(NOTEBOOK.search(word) for word in command):
        return True  # a notebook often sets nnU-Net's variables in a cell
    try:
        return any(
            name.lower().startswith("nnunet_") for name in process.environ()
        )  # Windows gives names in capitals
    except (psutil.Error, OSError):
        return True


def _is_known(command: Sequence[str]) -> bool:
    """Whether a Python process is a verb of nnunet_ext, or a multiprocessing worker."""
    return any("multiprocessing" in word or OUR_COMMAND.search(word) for word in command[:4])


def parse_command(command: Sequence[str]) -> TrainingCommand | None:
    """The training that a command line starts; None where it starts none."""
    for i, word in enumerate(command):
        if NNUNET_COMMAND.search(word):
            return _nnunet_training(command[i + 1 :])
        if OUR_COMMAND.search(word) and command[i + 1 : i + 2] == ["train"]:
            return _our_training(command[i + 2 :])
    return None


def _nnunet_training(words: Sequence[str]) -> TrainingCommand | None:
    positional, options = _parsed(words)
    if len(positional) < 3:
        return None
    trainer, plans = options.get("-tr", DEFAULT_TRAINER), options.get("-p", DEFAULT_PLANS)
    dataset, configuration, fold = positional[:3]
    return TrainingCommand(
        dataset=dataset, configuration=configuration, fold=fold, trainer=trainer, plans=plans
    )


def _our_training(words: Sequence[str]) -> TrainingCommand | None:
    options = _parsed(words)[1]
    if not {"-d", "-c", "-f"} <= options.keys():
        return None
    trainer, plans = options.get("-tr", OUR_DEFAULT_TRAINER), options.get("-p", DEFAULT_PLANS)
    return TrainingCommand(
        dataset=options["-d"],
        configuration=options["-c"],
        fold=options["-f"],
        trainer=trainer,
        plans=plans,
    )


def _parsed(words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The positional words and the options of a command line: one dash takes a value, two are a switch."""
    positional: list[str] = []
    options: dict[str, str] = {}
    waiting: str | None = None
    for word in words:
        if waiting is not None:
            options[waiting], waiting = word, None
        elif word.startswith("--"):
            continue
        elif word.startswith("-"):
            name, equals, value = word.partition("=")
            if equals:
                options[name] = value
            else:
                waiting = name
        else:
            positional.append(word)
    return positional, options
