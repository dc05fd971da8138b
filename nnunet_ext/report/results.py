"""The report's section on results: the tables of `nnunet_ext results`, model by model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from nnunet_ext.display.tables import Table
from nnunet_ext.monitoring.result_tables import KEYS, result_tables
from nnunet_ext.report.blocks import NO_VALIDATION, Block, FoldedBlock, TableBlock
from nnunet_ext.report.material import Material
from nnunet_ext.report.training import never_ran

STATES = "states, epochs and time"


def result_blocks(material: Material) -> list[Block]:
    """The tables of folds that ran, each model's folds followed by their mean; the others are folded away."""
    ran = [run for run in material.runs if not never_ran(run)]
    blocks: list[Block] = [
        TableBlock(replace(by_model(table), title=_title(table.title, material.folders.name)))
        for table in result_tables(ran)
    ]
    if not material.model_dice:
        blocks.append(NO_VALIDATION)
    idle = tuple(_never_ran(material))
    if idle:
        n_folds = len(material.runs) - len(ran)
        blocks.append(FoldedBlock(f"{n_folds} fold{'s' * (n_folds > 1)} never ran", idle))
    return blocks


def by_model(table: Table) -> Table:
    """A table with the rows of each model together; the model's names stand in its first row alone."""
    n_keys = sum(name in KEYS for name in table.header)
    models: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for row in table.rows:
        models.setdefault(row[:n_keys], []).append(row)
    blank = ("",) * n_keys
    rows = (
        (*(key if i == 0 else blank), *row[n_keys:])
        for key, some in models.items()
        for i, row in enumerate(some)
    )
    return replace(table, rows=tuple(rows))


def _title(title: str, dataset: str) -> str:
    """A table's title without the name of the data set, which is that of the page."""
    shared, _, about = title.removeprefix(dataset).strip().partition(": ")
    found = ": ".join(filter(None, (shared.strip(": "), about or STATES)))
    return found[0].upper() + found[1:] if found.startswith(STATES) else found


def _never_ran(material: Material) -> Iterator[str]:
    for name, runs in material.models.items():
        folds = [run.folder.fold for run in runs if never_ran(run)]
        if folds:
            yield f"{name}: fold{'s' * (len(folds) > 1)} {', '.join(folds)}; there is no log, and no epoch."
