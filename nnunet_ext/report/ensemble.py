"""An ensemble: its weights, and what it gains over its members."""

from __future__ import annotations

import math

from nnunet_ext.display.tables import RECOMMENDED, Table, dice_table
from nnunet_ext.monitoring.result_tables import number
from nnunet_ext.report.blocks import Block, Grid, Heading, Items, Missing, Picture, Text
from nnunet_ext.report.material import Material
from nnunet_ext.report.model_pairs import MEAN, Pair, compare
from nnunet_ext.report.scores import best_of, label_names
from nnunet_ext.tuning.pictures import Bar, WeightMatrix, draw_candidates, draw_weights
from nnunet_ext.tuning.read_report import TunedCandidate, TuningReport

HOW = (
    "name its plan with -plan, and the segmentations that nnunet_ext ensemble makes of the validation "
    "folders with -i NAME=FOLDER"
)
RULE = "Recommended is the simplest candidate that is behind the best by no more than may be chance."
SHOWN_LEFT_OUT = 5


def ensemble_blocks(material: Material) -> list[Block]:
    """The gain on the cases of the validation, the plan's weights and steps, and what its tuning found."""
    gained = gains(material)
    blocks: list[Block] = [*map(Missing, material.about_plan)]
    blocks += [Items(tuple(gained))] if gained else []
    blocks += _weight_blocks(material.weights) if material.weights else []
    blocks += _tuning_blocks(material.tuning) if material.tuning else []
    if not blocks:
        return [Missing(f"No ensemble is shown; {HOW}.")]
    if not gained and material.tuning is None:
        blocks.append(Missing(f"Its gain is not known; {HOW}."))
    return blocks


def _weight_blocks(weights: WeightMatrix) -> list[Block]:
    text = "Weight of each member per label"
    picture = Picture.drawn("weights", text, lambda theme: draw_weights(weights, theme))
    return [picture, *([Text(f"Post-processing: {'; '.join(weights.steps)}.")] if weights.steps else [])]


def _tuning_blocks(tuning: TuningReport) -> list[Block]:
    """All candidates, the recommended one marked, with the reason and what to beware of."""
    bars = [_bar(one, tuning) for one in tuning.candidates]
    left_out = [f"left out: {text}" for text in tuning.left_out[:SHOWN_LEFT_OUT]]
    more = len(tuning.left_out) - SHOWN_LEFT_OUT
    left_out += [f"{more} more are in the tuning report"] if more > 0 else []
    by_name = {one.name: one.labels for one in tuning.candidates}
    title = "Held-out Dice over the cases that hold a label, and false alarms in the others"
    text = f"Scores of the candidates; {tuning.recommended} is recommended"
    return [
        Heading(f"Tuning on {tuning.n_cases} cases, {tuning.n_parts} parts held out one after the other"),
        Items(tuple(f"{text}." for text in (*tuning.verdict, *left_out))),
        Picture.drawn("candidates", text, lambda theme: draw_candidates(bars, theme)),
        Text(f"The score is {tuning.score}. {RULE}"),
        Grid(_candidate_table(tuning)),
        Grid(dice_table(by_name, title)),
    ]


def _bar(one: TunedCandidate, tuning: TuningReport) -> Bar:
    score, error, fitted = (
        math.nan if value is None else value for value in (one.held_out, one.standard_error, one.fitted)
    )
    return Bar(one.name, score, error, one is tuning.chosen, fitted)


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
    return number(value, ".4f")


def _mark(one: TunedCandidate, tuning: TuningReport) -> str:
    if one is tuning.chosen:
        return RECOMMENDED
    return "" if one.is_eligible else "not accepted"


def _of_what(pair: Pair) -> str:
    return f"{pair.units.n} subjects" if pair.units.are_subjects else "cases"


def gains(material: Material) -> list[str]:
    """What each folder of segmentations gains over the best single model, a sentence each."""
    best = best_of(material.scores)
    if best is None:
        return []
    made = [scores for scores in material.scores if not scores.is_single]
    return [
        f"{pair.name} {'loses' if pair.difference < 0 else 'gains'} {abs(pair.difference):.4f} Dice against "
        f"{best.name}, the best single model "
        f"({pair.label}, {pair.n} cases; 95 % interval {pair.interval[0]:+.4f} to {pair.interval[1]:+.4f}, "
        f"by resampling {_of_what(pair)})."
        for pair in compare(made, best, label_names(material.scores), material.subjects)
        if pair.label == MEAN
    ]
