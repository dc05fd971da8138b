"""The trainings that run on this machine, as far as their command lines tell."""

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

# Missing: it is not seen where it should be, but a process that says nothing of itself may be it.
Life = Literal["alive", "gone", "missing", "unknown"]
SAME_START_S = 60.0  # between two looks at one process's start, by a clock that may be set meanwhile
NNUNET_COMMAND = re.compile(
    r"(?:^|[\\/])(?:nnUNetv2_train(?:\.exe|-script\.py)?|run_training\.py)$|^nnunetv2\.run\.run_training$"
)
OUR_COMMAND = re.compile(r"(?:^|[\\/])nnunet_ext(?:\.exe|-script\.py|[\\/]__main__\.py)?$")
NOTEBOOK = re.compile("ipykernel|jupyter|ipython|colab", re.IGNORECASE)
PYTHON = re.compile(r"(?:i?python|jupyter|pt_main_thread)", re.IGNORECASE)
DEFAULT_TRAINER, OUR_DEFAULT_TRAINER, DEFAULT_PLANS = "nnUNetTrainer", "nnUNetTrainerExt", "nnUNetPlans"
# A training imports torch for seconds before it begins its log, and its workers follow within one. The
# system's times of processes are wrong by up to a second.
IMPORTING_S = 1.0
LEFT_BEHIND_S = 60.0
ASKED = ["pid", "ppid", "name", "cmdline", "create_time", "status"]
DEAD = ("zombie", "dead")  # as psutil calls what has ended and was not yet buried


@dataclass(frozen=True)
class Training:
    """A training as its command line names it."""

    dataset: str
    configuration: str
    fold: str
    trainer: str
    plans: str

    def is_of(self, fold: FoldFolder) -> bool:
        """Whether this is the training of a fold."""
        mine = (self.configuration, self.fold, self.trainer, self.plans)
        return mine == (fold.configuration, fold.fold, fold.trainer, fold.plans) and is_dataset(
            self.dataset, fold.dataset
        )


@dataclass(frozen=True)
class TrainingProcess:
    """A process whose command line is that of a training.

    Attributes:
        training: which.
        began: when, in seconds since 1970.
        n_workers: processes that it has started.
    """

    training: Training
    began: float
    n_workers: int = 0


@dataclass(frozen=True)
class OtherProcess:
    """A Python process that may be a training without saying so.

    Attributes:
        began: when, in seconds since 1970.
        is_likely: whether it is a notebook, was given nnU-Net's variables, or cannot be asked.
    """

    began: float
    is_likely: bool = True


@dataclass(frozen=True)
class Processes:
    """What runs on a machine.

    Attributes:
        host: the machine's name.
        trainings: their processes; a worker that has lost its parent looks like one, too.
        others: those that may be trainings.
        started: when each process that is not dead was started, by its pid.
    """

    host: str
    trainings: tuple[TrainingProcess, ...] = ()
    others: tuple[OtherProcess, ...] = ()
    started: Mapping[int, float] = field(default_factory=dict)

    def life_of(self, writer: RecordedProcess) -> Life:
        """Whether a process that recorded itself still runs, which is known on its own machine only."""
        if writer.host != self.host:
            return "unknown"
        started = self.started.get(writer.pid)
        return "alive" if started is not None and abs(started - writer.began) < SAME_START_S else "gone"

    def life(self, fold: FoldFolder, host: str | None, began: float | None) -> Life:
        """Whether the process that wrote a fold's newest log still runs.

        Args:
            fold: the fold.
            host: the machine on which it was trained, as its debug.json says.
            began: when the log was begun. A process is older than the log it writes, while workers that
                a killed training left behind are as young.
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
        """Processes that the training of a fold has started; None where it is not seen."""
        writer = None if began is None else self._writer(fold, began)
        return None if writer is None else writer.n_workers

    def _writer(self, fold: FoldFolder, began: float) -> TrainingProcess | None:
        """The process that writes the log begun then: the youngest, as Windows' launcher is older."""
        latest = began - IMPORTING_S
        older = (one for one in self.trainings if one.training.is_of(fold) and one.began < latest)
        return max(older, key=lambda one: one.began, default=None)


def find_processes() -> Processes:
    """Look at all processes of this machine."""
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
            continue  # among them workers: forked, they have the command line of their parent
        training = parse_command(command)
        if training is not None:
            trainings.append(TrainingProcess(training, began, n_children[pid]))
        elif PYTHON.match(process.info["name"] or Path(command[0]).name) and not _is_known(command):
            others.append(OtherProcess(began, _is_likely(process, command)))
    return Processes(socket.gethostname(), tuple(trainings), tuple(others), started)


def _is_likely(process: psutil.Process, command: Sequence[str]) -> bool:
    import psutil

    if any(NOTEBOOK.search(word) for word in command):
        return True  # they often set nnU-Net's variables in a cell
    try:
        return any(name.lower().startswith("nnunet_") for name in process.environ())  # Windows: capitals
    except (psutil.Error, OSError):
        return True


def _is_known(command: Sequence[str]) -> bool:
    """Whether a Python process is one of our own verbs, or another's worker."""
    return any("multiprocessing" in word or OUR_COMMAND.search(word) for word in command[:4])


def parse_command(command: Sequence[str]) -> Training | None:
    """The training that a command line asks for; None where it is none."""
    for i, word in enumerate(command):
        if NNUNET_COMMAND.search(word):
            return _nnunet_training(command[i + 1 :])
        if OUR_COMMAND.search(word) and command[i + 1 : i + 2] == ["train"]:
            return _our_training(command[i + 2 :])
    return None


def _nnunet_training(words: Sequence[str]) -> Training | None:
    positional, options = _parsed(words)
    if len(positional) < 3:
        return None
    trainer, plans = options.get("-tr", DEFAULT_TRAINER), options.get("-p", DEFAULT_PLANS)
    dataset, configuration, fold = positional[:3]
    return Training(dataset, configuration, fold, trainer, plans)


def _our_training(words: Sequence[str]) -> Training | None:
    options = _parsed(words)[1]
    if not {"-d", "-c", "-f"} <= options.keys():
        return None
    trainer, plans = options.get("-tr", OUR_DEFAULT_TRAINER), options.get("-p", DEFAULT_PLANS)
    return Training(options["-d"], options["-c"], options["-f"], trainer, plans)


def _parsed(words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Positional words and options: one dash takes a value, two are a switch."""
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
