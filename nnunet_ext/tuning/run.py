"""Learn weights and post-processing from the validation probabilities of a cross-validation."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from nnunet_ext.jobs.execution import DEFAULT_EXECUTION, Execution
from nnunet_ext.metrics.objective import Objective
from nnunet_ext.nnunet.dataset_json import read_dataset
from nnunet_ext.nnunet.subjects import Subjects, find_subjects, units_of
from nnunet_ext.tuning.candidates import EQUAL, SINGLE, Candidate, make_candidates
from nnunet_ext.tuning.cases import Tabulator, TuningCase, read_cases
from nnunet_ext.tuning.postprocess import ReferenceSizes, StepTuner
from nnunet_ext.tuning.recommendation import PlanCandidate, Tuning, rate_candidates
from nnunet_ext.tuning.scoring import Scorer
from nnunet_ext.tuning.validation import CrossValidation, find_validation, groups_of

SEARCH_VOXELS = 1 << 14  # contested voxels of each case that a search uses


def run_tuning(
    folders: Mapping[str, Sequence[Path]],
    references: Path,
    *,
    dataset: Path,
    objective: Objective | None = None,
    execution: Execution = DEFAULT_EXECUTION,
) -> Tuning:
    """Learn weights and post-processing on validation probabilities, and estimate what they are worth.

    Args:
        folders: by the member's name, trained models' folders or folders of probabilities.
        references: one segmentation per case.
        dataset: the dataset.json.
        objective: the score to raise; the mean over labels of the mean Dice over cases unless given.
        execution: worker processes or a cluster, and who is told of each case that was read; no shard.

    Returns:
        All candidates with their scores; a case that failed is left out and named with its reason.

    Raises:
        PlanError, DatasetError, UsageError: before the first case is read, or where fewer than two could be.
    """
    execution.check_no_shard("tune")
    objective = objective or Objective()
    data = read_dataset(dataset)
    subjects = find_subjects((dataset, references, *(path for paths in folders.values() for path in paths)))
    validation = find_validation(folders, data.file_ending, subjects)
    started = time.perf_counter()
    cases, failed = read_cases(validation, references, data, execution)
    validation = _keep_cases(validation, [case.scored.case_id for case in cases], subjects)
    units = units_of([case.case_id for case in validation.cases], subjects)
    read = time.perf_counter()
    kept_bytes = sum(case.scored.values.nbytes for case in cases)
    contested_share = _contested_share(cases)
    scorer = Scorer([case.scored for case in cases], data.labels, data.ignore)
    names = [member.name for member in validation.plan.members]
    search = Scorer([case.scored.thinned(SEARCH_VOXELS) for case in cases], data.labels, data.ignore)
    candidates = make_candidates(scorer, objective, validation.folds, names, search)
    sizes, volumes = [case.sizes for case in cases], [case.volume for case in cases]
    del cases, search  # their values lie in the scorer
    tabulator = Tabulator(scorer, volumes, validation.folds, data, execution)
    with_steps = _with_steps(
        _worth_processing(candidates, objective), tabulator, validation.folds, sizes, objective
    )
    every = sorted([*map(_without_steps, candidates), *with_steps], key=lambda one: one.complexity)
    rows, recommended = rate_candidates(every, objective, units.of_cases)
    return Tuning(
        dataset=data,
        validation=validation,
        units=units,
        objective=objective,
        rows=rows,
        recommended=recommended,
        failed=failed,
        contested_share=contested_share,
        kept_bytes=kept_bytes,
        reading_s=read - started,
        searching_s=time.perf_counter() - read,
    )


def _contested_share(cases: Sequence[TuningCase]) -> float:
    """Return the share of all voxels that weights can change."""
    n_voxels = sum(int(np.prod(case.volume.settled.shape)) for case in cases)
    return sum(len(case.volume.voxels) for case in cases) / n_voxels


def _without_steps(candidate: Candidate) -> PlanCandidate:
    return PlanCandidate(
        candidate=candidate, learnt=None, fitted=candidate.fitted, held_out=candidate.held_out
    )


def _with_steps(
    candidates: Sequence[Candidate],
    tabulator: Tabulator,
    folds: Sequence[str],
    sizes: Sequence[ReferenceSizes],
    objective: Objective,
) -> list[PlanCandidate]:
    """Return the candidates that steps of post-processing were learnt for, with these steps."""
    tuner = StepTuner(
        lambda asked: tabulator.held_out_tables([(candidates[number], steps) for number, steps in asked]),
        sizes,
        tabulator.dataset.labels,
        objective,
        tabulator.dataset.ignore,
    )
    learnt = [
        (candidate, one)
        for candidate, one in zip(candidates, tuner.learn(folds, len(candidates)), strict=True)
        if one.entries
    ]
    counts = tabulator.plan_counts(
        [(candidate.weights, tuner.steps(one.entries)) for candidate, one in learnt]
    )
    return [
        PlanCandidate(candidate=candidate, learnt=one, fitted=fitted, held_out=one.held_out)
        for (candidate, one), fitted in zip(learnt, counts, strict=True)
    ]


def _worth_processing(candidates: Sequence[Candidate], objective: Objective) -> list[Candidate]:
    """Return the best single member and all ensembles; another single member will not be recommended."""
    singles = [one for one in candidates if one.complexity == SINGLE]
    best = max(singles, key=lambda one: objective.score(one.held_out))
    return [best, *(one for one in candidates if one.complexity >= EQUAL)]


def _keep_cases(
    validation: CrossValidation, case_ids: Sequence[str], subjects: Subjects | None
) -> CrossValidation:
    """Return the cross-validation with these of its cases alone, in two folds at least."""
    kept = [
        (case, fold)
        for case, fold in zip(validation.cases, validation.folds, strict=True)
        if case.case_id in set(case_ids)
    ]
    folds = tuple(fold for _, fold in kept)
    if len(set(folds)) < 2:
        folds = groups_of([case.case_id for case, _ in kept], subjects, 2)
    return replace(validation, cases=tuple(case for case, _ in kept), folds=folds)
