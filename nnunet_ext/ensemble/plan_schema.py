"""The JSON Schema of plan files, by which editors complete plans and underline what is wrong."""

from __future__ import annotations

from typing import Any

from nnunet_ext.ensemble.plan_file import PlanFile
from nnunet_ext.postprocess.steps import STEP_OPTIONS

Schema = dict[str, Any]

# YAML reads the 1 of `d: 1` as a number, which a plan takes for text.
NAME: Schema = {"type": ["string", "integer"]}
NAMES: Schema = {"anyOf": [NAME, {"type": "array", "items": NAME, "minItems": 1}]}
FOLDERS: Schema = {
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}],
    "description": "folders of CASE.npz or CASE.b2nd, relative to the plan; * stands for any name",
}
MEANINGS = {
    "members": "what is fused, by names of your choice: folders of probabilities, a trained model, or both",
    "weights": "weights of the members, relative to each other",
    "default": "weight of each member, for labels without weights of their own",
    "labels": "weight of each member, by name or value of a label",
    "postprocess": "steps in the order in which they are carried out",
    "results": "a trained model, by the letters of nnU-Net's options",
    "folds": "what is averaged over folds; logits, as nnUNetv2_predict -f 0 1 does",
    "mirroring": "mirrored passes along the axes that the training allowed",
    "step_size": "of the sliding window, as a share of the patch",
    "previous_stage": "the member whose segmentations a cascade begins with, where several could be",
    "d": "data set by number or name",
    "c": "configuration, such as 2d or 3d_fullres",
    "tr": "trainer",
    "p": "plans",
    "f": "folds, or all",
    "chk": "file name of the checkpoint",
}
STEP_MEANINGS = {
    "keep_largest": "keep the largest component of each label",
    "remove_small": "remove components below a volume in mm3",
    "fill_holes": "fill background that a label encloses",
    "volume_floor": "remove a label whose whole volume in a case is below this, in mm3",
}


def plan_schema() -> Schema:
    """Make the schema of all that `read_plan` takes: short forms and numbers in the place of names, too."""
    schema = PlanFile.model_json_schema()
    member, results, weights = (schema["$defs"][name] for name in ("_Member", "_Results", "_Weights"))
    for one in (schema, member, results, weights):
        for name, entry in one["properties"].items():
            entry.pop("title", None)
            if name in MEANINGS:
                entry["description"] = MEANINGS[name]
    member["properties"]["folders"] = FOLDERS
    member["properties"]["weights"]["description"] = (
        "of folders or folds among each other; equal if not given"
    )
    member["properties"]["previous_stage"] = {**NAME, "description": MEANINGS["previous_stage"]}
    for name, form in (("d", NAME), ("c", NAME), ("tr", NAME), ("p", NAME), ("f", NAMES), ("chk", NAME)):
        results["properties"][name] = {**form, "description": MEANINGS[name]}
    schema["$defs"]["_Member"] = {"anyOf": [*FOLDERS["anyOf"], member]}
    schema["properties"]["postprocess"]["items"] = {"anyOf": [_step(name) for name in STEP_OPTIONS]}
    return {**schema, "title": "Plan of an ensemble", "description": "A plan of nnunet_ext."}


def _step(name: str) -> Schema:
    """Make the schema of one step: its name with options, or alone where it needs none."""
    options = STEP_OPTIONS[name].model_json_schema()
    for entry in options["properties"].values():
        entry.pop("title", None)
    needs_options = bool(options.get("required"))
    step: Schema = {
        "type": "object",
        "properties": {name: options if needs_options else {"anyOf": [options, {"type": "null"}]}},
        "required": [name],
        "additionalProperties": False,
        "description": STEP_MEANINGS[name],
    }
    alone: Schema = {"const": name, "description": STEP_MEANINGS[name]}
    return step if needs_options else {"anyOf": [step, alone]}
