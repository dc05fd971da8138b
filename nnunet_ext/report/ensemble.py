"""The report's section on an ensemble: its gain over the best single model, its weights and its tuning."""

from __future__ import annotations

import math

from nnunet_ext.display.tables import RECOMMENDED, Table, dice_table
from nnunet_ext.metrics.dice import MEAN_OF_LABELS
from nnunet_ext.monitoring.result_tables import number_cell
from nnunet_ext.report.blocks import (
    Block,
    HeadingBlock,
    ListBlock,
    MissingBlock,
    PictureBlock,
    TableBlock,
    TextBlock,
)
from nnunet_ext.report.material import Material
from nnunet_ext.report.model_dice import best_model, label_names
from nnunet_ext.report.model_pairs import ModelPair, compare_models
from nnunet_ext.tuning.pictures import CandidateScore, draw_candidates, draw_weights
from nnunet_ext.tuning.recommendation import WeightMatrix
from nnunet_ext.tuning.report import TunedCandidate, TuningReport

HOW = (
    "name its plan with -plan, and the segmentations that nnunet_ext ensemble makes of the validation "
    "folders with -i NAME=FOLDER"
)
RULE = "Recommended is the simplest candidate that is behind the best by no more than may be chance."
SHOWN_LEFT_OUT = 5


def ensemble_blocks(material: Material) -> list[Block]:
    """The gain on the validation cases, the plan's weights and steps, and the results of its tuning."""
    gained, plan = gains(material), material.plan
    blocks: list[Block] = [*map(MissingBlock, (*plan.faults, *filter(None, [plan.note])))]
    blocks += [ListBlock(tuple(gained))] if gained else []
    blocks += _weight_blocks(plan.weights) if plan.weights else []
    blocks += _tuning_blocks(plan.tuning) if plan.tuning else []
    if not blocks:
        return [MissingBlock(f"No ensemble is shown; {HOW}.")]
    if not gained and plan.tuning is None:
        blocks.append(MissingBlock(f"Its gain is not known; {HOW}."))
    return blocks


def _weight_blocks(weights: WeightMatrix) -> list[Block]:
    text = "Weight of each member per label"
    picture = PictureBlock.drawn("weights", text, lambda theme: draw_weights(weights, theme))
    return [picture, *([TextBlock(f"Post-processing: {'; '.join(weights.steps)}.")] if weights.steps else [])]


def _tuning_blocks(tuning: TuningReport) -> list[Block]:
    """The tuning's verdict and warnings, and the scores of all candidates with the recommended one marked."""
    bars = [_bar(one, tuning) for one in tuning.candidates]
    left_out = [f"left out: {text}" for text in tuning.left_out[:SHOWN_LEFT_OUT]]
    more = len(tuning.left_out) - SHOWN_LEFT_OUT
    left_out += [f"{more} more are in the tuning report"] if more > 0 else []
    by_name = {one.name: one.labels for one in tuning.candidates}
    title = "Held-out Dice over the cases that hold a label, and false alarms in the others"
    text = f"Scores of the candidates; {tuning.recommended} is recommended"
    return [
        HeadingBlock(
            f"Tuning on {tuning.n_cases} cases, {tuning.n_folds} groups of cases held out one after the other"
        ),
        ListBlock(tuple(f"{text}." for text in (*tuning.verdict, *left_out))),
        PictureBlock.drawn("candidates", text, lambda theme: draw_candidates(bars, theme)),
        TextBlock(f"The score is {tuning.score}. {RULE}"),
        TableBlock(_candidate_table(tuning)),
        TableBlock(dice_table(by_name, title)),
    ]


def _bar(one: TunedCandidate, tuning: TuningReport) -> CandidateScore:
    score, error, fitted = (
        math.nan if value is None else value for value in (one.held_out, one.standard_error, one.fitted)
    )
    return CandidateScore(
        name=one.name, score=score, standard_error=error, is_chosen=one is tuning.chosen, fitted=fitted
    )


def _candidate_table(tuning: TuningReport) -> Table:
    header = ("candidate", "held out", "standard error", "fitted", "behind best", "may be chance", "")
    rows = tuple(
        (
            one.name,
            *map(_score, (one.held_out, one.standard_error, one.fitted, one.behind_best, one.tolerance)),
            _mark(one, tuning),
        )
        for one in tuning.candidates
    )
    return Table(header, rows, "Scores of the candidates")


def _score(value: float | None) -> str:
    return number_cell(value, ".4f")


def _mark(one: TunedCandidate, tuning: TuningReport) -> str:
    if one is tuning.chosen:
        return RECOMMENDED
    return "" if one.is_eligible else "not accepted"


def _units_words(pair: ModelPair) -> str:
    return f"{pair.units.n} subjects" if pair.units.are_subjects else "cases"


def gains(material: Material) -> list[str]:
    """The gain of each folder of segmentations over the best single model, a sentence each."""
    best = best_model(material.model_dice)
    if best is None:
        return []
    ensembles = [one for one in material.model_dice if not one.is_single]
    return [
        f"{pair.name} {'loses' if pair.difference < 0 else 'gains'} {abs(pair.difference):.4f} Dice against "
        f"{best.name}, the best single model "
        f"({pair.label}, {pair.n} cases; 95 % interval {pair.interval[0]:+.4f} to {pair.interval[1]:+.4f}, "
        f"by resampling {_units_words(pair)})."
        for pair in compare_models(ensembles, best, label_names(material.model_dice), material.subjects)
        if pair.label == MEAN_OF_LABELS
    ]
