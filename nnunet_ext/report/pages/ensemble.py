"""An ensemble: its weights, and what it gains over its members."""

from __future__ import annotations

from nnunet_ext.report.pages.blocks import Block, Grid, Items, Missing, Picture, Text
from nnunet_ext.report.pages.material import Material
from nnunet_ext.report.pairs import MEAN, compare
from nnunet_ext.report.pictures.weights import draw_weights
from nnunet_ext.report.scores import best_of, label_names
from nnunet_ext.report.tables import Table

HOW = (
    "name its plan with -plan, and the segmentations that nnunet_ext ensemble makes of the validation "
    "folders with -i NAME=FOLDER"
)


def ensemble_blocks(material: Material) -> list[Block]:
    """The plan's weights, its steps, and the gain on the cases of the validation."""
    blocks: list[Block] = []
    if material.weights is not None:
        weights = material.weights
        text = "Weight of each member per label"
        blocks.append(Picture.drawn("weights", text, lambda theme: draw_weights(weights, theme)))
        if weights.steps:
            blocks.append(Text("Post-processing: " + "; ".join(weights.steps) + "."))
    if material.tuning:
        blocks.append(Grid(Table(("", "value"), material.tuning, "What the tuning found")))
    gained = gains(material)
    if gained:
        blocks.append(Items(tuple(gained)))
    if not blocks:
        return [Missing(f"No ensemble is shown; {HOW}.")]
    if not gained and not material.tuning:
        blocks.append(Missing(f"Its gain is not known; {HOW}."))
    return blocks


def gains(material: Material) -> list[str]:
    """What each folder of segmentations gains over the best single model, a sentence each."""
    best = best_of(material.scores)
    if best is None:
        return []
    made = [scores for scores in material.scores if not scores.is_single]
    return [
        f"{pair.name} {'loses' if pair.difference < 0 else 'gains'} {abs(pair.difference):.4f} Dice against "
        f"{best.name}, the best single model "
        f"({pair.label}, {pair.n} cases; 95 % interval {pair.interval[0]:+.4f} to {pair.interval[1]:+.4f})."
        for pair in compare(made, best, label_names(material.scores))
        if pair.label == MEAN
    ]
