"""The run of the preprocess verb: which cases are made for which configurations, and which are kept."""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_ext.errors import UsageError, describe_error
from nnunet_ext.files.outputs import make_folder
from nnunet_ext.files.whole import remove_leftovers, written_whole
from nnunet_ext.jobs.execution import DEFAULT_EXECUTION, Execution
from nnunet_ext.jobs.pool import threads_each
from nnunet_ext.nnunet.dataset_json import read_dataset_json
from nnunet_ext.nnunet.folders import REFERENCE_COPIES, DatasetFolders, find_dataset
from nnunet_ext.nnunet.plans import Plans, read_plans
from nnunet_ext.preprocessing.cases import TrainingCases
from nnunet_ext.preprocessing.plan import CaseFiles, PreprocessingPlan
from nnunet_ext.preprocessing.proof import cases_in, read_proof, remove_other_cases
from nnunet_ext.preprocessing.workers import (
    DigestJob,
    PreprocessJob,
    Target,
    digest_inputs,
    preprocess_case,
)

CONFIGURATIONS = ("2d", "3d_fullres", "3d_lowres")  # those of nnUNetv2_preprocess


@dataclass(frozen=True, kw_only=True)
class PreprocessedConfiguration:
    """The cases of one configuration after a run.

    Attributes:
        configuration: name of the configuration.
        folder: the folder of its preprocessed cases.
        n_made: number of cases that this run made.
        n_kept: number of cases that an earlier run had made from the same files and plans.
    """

    configuration: str
    folder: Path
    n_made: int
    n_kept: int


@dataclass(frozen=True, kw_only=True)
class PreprocessReport:
    """The result of preprocessing a data set.

    Attributes:
        dataset: name of the data set.
        configurations: its preprocessed configurations.
        skipped: names of configurations that the plans do not have.
        failed: why a case was not made, by case.
        warnings: what the user should know although the run went on.
    """

    dataset: str
    configurations: tuple[PreprocessedConfiguration, ...]
    skipped: tuple[str, ...]
    failed: Mapping[str, str]
    warnings: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every case was made for every configuration."""
        return not self.failed


def run_preprocess(
    dataset: str | int,
    *,
    configurations: Sequence[str] = CONFIGURATIONS,
    plans: str = "nnUNetPlans",
    overwrite: bool = False,
    execution: Execution = DEFAULT_EXECUTION,
) -> PreprocessReport:
    """Preprocess the training cases of a data set into the files that nnU-Net's trainers read.

    The files are those of `nnUNetv2_preprocess`: images equal to a hundred-thousandth of their range, labels
    but for exact ties. A case that an earlier run made from the same files and plans is kept; all others in
    the folders are removed first, so that no folder holds cases of two plans.

    Args:
        dataset: number or name of the data set.
        configurations: names of configurations; those that the plans do not have are skipped.
        plans: name of the plans.
        overwrite: make all cases anew.
        execution: worker processes or a cluster, and who is told of each case; no shard.

    Raises:
        UsageError, DatasetError: before the first case is read or removed.
    """
    execution.check_no_shard("preprocess")
    folders = find_dataset(dataset)
    raw, home, found = _planned(folders, plans, dataset)
    targets, skipped = _targets(found, configurations, home)
    cases = TrainingCases.of(raw)
    if not all(target.plan.is_default for target in targets):
        _check_preprocessors(targets)
    for target in targets:
        make_folder(target.folder)
        remove_leftovers(target.folder)
    digests, faults = ({}, {}) if overwrite else _digests(targets, cases.files, execution)
    kept = {target.configuration: _kept_cases(target, digests, faults) for target in targets}
    for target in targets:
        remove_other_cases(target.folder, kept[target.configuration])
    jobs = _jobs(targets, kept, cases, faults, execution)
    failed = dict(sorted({**cases.faults, **faults}.items()))
    done = cases.files.keys() - faults.keys() - {job.case_id for job in jobs}
    for case_id in [*failed, *sorted(done)]:
        execution.on_case(case_id, failed.get(case_id), cases.n)
    made: dict[str, int] = dict.fromkeys((target.configuration for target in targets), 0)
    for outcome in execution.run(preprocess_case, jobs):
        reason = outcome.reason
        if outcome.result is not None:
            for configuration in outcome.result.made:
                made[configuration] += 1
            reason = "; ".join(f"{name}: {why}" for name, why in outcome.result.faults.items()) or None
        if reason is not None:
            failed[outcome.job.case_id] = reason
        execution.on_case(outcome.job.case_id, reason, cases.n)
    failed |= _copy_references(home, [one for name, one in cases.files.items() if name not in failed])
    return PreprocessReport(
        dataset=folders.name,
        configurations=tuple(
            PreprocessedConfiguration(
                configuration=target.configuration,
                folder=target.folder,
                n_made=made[target.configuration],
                n_kept=len(kept[target.configuration]),
            )
            for target in targets
        ),
        skipped=skipped,
        failed=dict(sorted(failed.items())),
        warnings=cases.warnings,
    )


def _planned(folders: DatasetFolders, plans: str, dataset: str | int) -> tuple[Path, Path, Plans]:
    """The data set's raw and preprocessed folders, and its plans."""
    if folders.raw is None:
        raise UsageError(f"{folders.name} has no raw data; its folder must lie in the folder of nnUNet_raw.")
    if folders.preprocessed is None:
        raise UsageError(
            f"{folders.name} is not planned: first run nnUNetv2_plan_and_preprocess --no_pp -d {dataset}."
        )
    return folders.raw, folders.preprocessed, read_plans(folders.preprocessed / f"{plans}.json")


def _targets(
    plans: Plans, configurations: Sequence[str], home: Path
) -> tuple[tuple[Target, ...], tuple[str, ...]]:
    """The folders to fill, each once, and the configurations that the plans do not have.

    Raises:
        UsageError: the plans have none of them, or two that differ share a folder.
        DatasetError: dataset.json is missing or damaged.
    """
    unique = tuple(dict.fromkeys(configurations))
    skipped = tuple(name for name in unique if name not in plans.configurations)
    if len(skipped) == len(unique):
        raise UsageError(
            f"{plans.path} has no configuration {' or '.join(skipped)}; it has "
            f"{', '.join(plans.configurations)}."
        )
    dataset_json = read_dataset_json(home / "dataset.json")
    by_folder: dict[str, Target] = {}
    for name in unique:
        if name in skipped:
            continue
        plan = PreprocessingPlan(plans.content, name, dataset_json)
        other = by_folder.get(plan.data_identifier)
        if other is not None and other.plan.sha256_of_values != plan.sha256_of_values:
            raise UsageError(
                f"{other.configuration} and {name} of {plans.path} are preprocessed in different ways, but "
                f"share the data_identifier {plan.data_identifier}: name one of them with -c."
            )
        by_folder[plan.data_identifier] = Target(plan, home / plan.data_identifier)
    return tuple(by_folder.values()), skipped


def _check_preprocessors(targets: Iterable[Target]) -> None:
    """Refuse preprocessors that cannot do cases one by one, before any file is removed."""
    from nnunet_ext.preprocessing.case import CasePreprocessor  # torch, for rare plans alone

    for target in targets:
        CasePreprocessor(target.plan)


def _digests(
    targets: Sequence[Target], files: Mapping[str, CaseFiles], execution: Execution
) -> tuple[dict[str, str], dict[str, str]]:
    """Digests of the raw files of cases that were made before, and why those of others cannot be read."""
    before = {case for target in targets for case in cases_in(target.folder) & files.keys()}
    jobs = [
        DigestJob(files[case])
        for case in sorted(before)
        if any(_is_of_plan(target, case) for target in targets)
    ]
    digests, faults = {}, {}
    for outcome in execution.run(digest_inputs, jobs):
        if outcome.result is None:
            faults[outcome.job.case_id] = outcome.reason or "its files cannot be read"
        else:
            digests[outcome.job.case_id] = outcome.result
    return digests, faults


def _is_of_plan(target: Target, case_id: str) -> bool:
    proof = read_proof(target.folder, case_id)
    return proof is not None and proof.plan_sha256 == target.plan.sha256


def _kept_cases(target: Target, digests: Mapping[str, str], faults: Collection[str]) -> set[str]:
    """Cases of this plan whose raw files have not changed, or cannot be read now."""
    return {
        case
        for case in {*digests, *faults}
        if (proof := read_proof(target.folder, case))
        and proof.plan_sha256 == target.plan.sha256
        and digests.get(case) in (None, proof.inputs_sha256)
    }


def _jobs(
    targets: Sequence[Target],
    kept: Mapping[str, Collection[str]],
    cases: TrainingCases,
    faults: Collection[str],
    execution: Execution,
) -> list[PreprocessJob]:
    """One job for each case that a configuration lacks."""
    due = {
        case: lacking
        for case in cases.files
        if case not in faults
        and (lacking := tuple(one for one in targets if case not in kept[one.configuration]))
    }
    n_threads = 1 if execution.executor else threads_each(execution.n_workers, len(due))
    return [
        PreprocessJob(
            files=cases.files[case], targets=lacking, n_channels=cases.n_channels, n_threads=n_threads
        )
        for case, lacking in due.items()
    ]


def _copy_references(home: Path, cases: Iterable[CaseFiles]) -> dict[str, str]:
    """Copy reference segmentations to where nnU-Net's validation reads them; why one was not, by case."""
    faults = {}
    ending = read_dataset_json(home / "dataset.json")["file_ending"]
    for case in cases:
        target = home / REFERENCE_COPIES / f"{case.case_id}{ending}"
        try:
            if target.is_file() and filecmp.cmp(case.label, target, shallow=False):
                continue
            with written_whole(target) as part:
                shutil.copy2(case.label, part)
        except OSError as error:
            faults[case.case_id] = describe_error(error)
    return faults
