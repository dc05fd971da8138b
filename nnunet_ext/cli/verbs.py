"""The verbs of the command line: what each is for, the group it is shown in, and two examples."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Verb:
    """One verb.

    Attributes:
        summary: what it is for, in one line that begins with a verb.
        examples: commands, without the program's name; a test parses each.
    """

    summary: str
    examples: tuple[str, ...]


GROUPS: dict[str, dict[str, Verb]] = {
    "train": {
        "train": Verb(
            "train with settings as options, with nnU-Net's own training function",
            (
                "train -d 1 -c 3d_fullres -f 0 -n_epochs 300 -patience 40 -cooldown_epochs 20 --npz",
                "train --show -tr nnUNetTrainerExt_ep300_adamw_cosine",
            ),
        ),
        "benchmark": Verb(
            "measure the speed of a training's steps, in a temporary folder",
            (
                "benchmark -d 1 -c 3d_fullres -tr nnUNetTrainerExt",
                "benchmark -d 1 -c 2d -tr nnUNetTrainer -device cpu -o bench --profile",
            ),
        ),
        "plan": Verb(
            "plan UNet++ for a data set and a GPU's memory with nnU-Net's own planner",
            (
                "plan -d 4 -gpu_memory_target 8",
                "plan -d 4 -pl ResEncUNetPlusPlusPlanner -max_stages 5",
            ),
        ),
        "preprocess": Verb(
            "preprocess a planned data set as nnU-Net does, in less time; a killed run goes on",
            (
                "preprocess -d 4 -c 3d_fullres",
                "preprocess -d 4 -p nnUNetUNetPlusPlusPlans -np 4",
            ),
        ),
        "prune": Verb(
            "cut a trained UNet++ down to one of its branches, or compare them all",
            (
                "prune --auto MODEL_FOLDER -f 0 1 -o pruned",
                "prune MODEL_FOLDER --depth 2 -o pruned",
            ),
        ),
    },
    "predict": {
        "predict": Verb(
            "predict with trained models, fuse and post-process, all in one pass",
            (
                "predict -i imagesTs -o predicted --plan plan.yaml --zip submission.zip",
                "predict -i imagesTs -o predicted --plan plan.yaml -device cpu --shard 1/4",
            ),
        ),
        "ensemble": Verb(
            "fuse members' probabilities into segmentations, with weights per label",
            (
                "ensemble -i 2d=pred/2d_f0 2d=pred/2d_f1 3d=pred/3d_f0 -o fused -r imagesTs --zip fused.zip",
                "ensemble --plan plan.yaml -o fused -r imagesTs",
            ),
        ),
        "probabilities": Verb(
            "convert probabilities to a compact store and back, and describe their files",
            (
                "probabilities convert -i pred/2d_f0 -o store/2d_f0",
                "probabilities info store/2d_f0/case_1.b2nd",
            ),
        ),
        "roi": Verb(
            "work in two stages: crop data sets to an organ, predict in its box, compare with one stage",
            (
                "roi build -d 3 -o 103 --margin 20 --jitter 10",
                "roi predict -i imagesTs -o out --coarse COARSE_MODEL --fine FINE_MODEL",
            ),
        ),
    },
    "submit": {
        "tune": Verb(
            "learn weights and post-processing from a cross-validation, scored on held-out folds",
            (
                "tune -d 1 -m 2d=MODEL_2D 3d=MODEL_3D -o plan.yaml",
                "tune -d 1 -m 2d=MODEL_2D 3d=MODEL_3D -o plan.yaml -over worst --candidates candidates",
            ),
        ),
        "postprocess": Verb(
            "keep largest components, remove small ones, fill holes",
            (
                "postprocess -i predicted -o processed --keep_largest --fill_holes myocardium",
                "postprocess -i predicted -o processed --plan plan.yaml",
            ),
        ),
        "submit": Verb(
            "pack a folder of segmentations into a verified zip",
            (
                "submit -i predicted -o submission.zip -r imagesTs -d dataset.json",
                "submit -i predicted -o submission.zip -r imagesTs -d dataset.json --overwrite",
            ),
        ),
        "verify": Verb(
            "list every fault of a submission zip",
            (
                "verify submission.zip -r imagesTs -d dataset.json",
                "verify downloads/old.zip -r imagesTs -d predicted/dataset.json",
            ),
        ),
    },
    "data": {
        "check": Verb(
            "read every byte of a data set, list its faults, and repair them",
            (
                "check -d 4",
                "check -d 4 --fix --dry_run",
            ),
        ),
        "splits": Verb(
            "split cases by subject, balanced by label and volume, or audit existing splits",
            (
                "splits -d 4 -k 5 --subject_pattern '(patient\\d+)_.*' --picture folds.png",
                "splits -d 4 --audit",
            ),
        ),
        "plans": Verb(
            "list, compare and derive configurations without editing JSON",
            (
                "plans -d 4 -c 3d_fullres --batch_size 4",
                "plans -d 4 --diff 3d_fullres 3d_fullres_bs4",
            ),
        ),
    },
    "look": {
        "results": Verb(
            "list the state of every trained model and fold, with the Dice of each label",
            (
                "results -d 1",
                "results -d 1 -f 0 --evolution 50",
            ),
        ),
        "monitor": Verb(
            "watch the running trainings: pace, Dice, patience, machine",
            (
                "monitor",
                "monitor -d 1 --once",
            ),
        ),
        "evaluate": Verb(
            "compare predictions with references: Dice, surface distances, intervals, paired differences",
            (
                "evaluate -i predicted -r labelsTs -d dataset.json -o scores --surface",
                "evaluate --compare scores_2d scores_3d",
            ),
        ),
        "report": Verb(
            "write one page on a data set and its models, with curves, cases and pictures",
            (
                "report -d 1 -o report",
                "report -d 1 -plan plan.yaml -o report",
            ),
        ),
        "overlay": Verb(
            "draw a segmentation's contours on its scan, for one case or a folder",
            (
                "overlay -i imagesTr -s predicted -r labelsTr -o pictures",
                "overlay -i scan.nii.gz -s segmentation.nii.gz -o picture.png",
            ),
        ),
    },
    "set up": {
        "register": Verb(
            "let nnU-Net find our trainers in this Python environment without a variable",
            ("register",),
        ),
        "unregister": Verb("undo register", ("unregister",)),
        "env": Verb(
            "print the lines that set nnU-Net's folders and let nnU-Net find our trainers",
            (
                "env --shell bash -b /data/nnunet",
                "env --shell powershell",
            ),
        ),
        "doctor": Verb(
            "list what is installed and found on this machine, and what is wrong",
            ("doctor",),
        ),
        "demo": Verb(
            "run the whole pipeline on phantom data: training, ensemble and submission",
            (
                "demo -o nnunet_ext_demo",
                "demo --only_data -o nnUNet_raw/Dataset001_CardiacPhantom",
            ),
        ),
        "completion": Verb(
            "print the lines that let a shell complete verbs and options",
            (
                "completion bash",
                "completion powershell",
            ),
        ),
    },
}
VERBS: dict[str, Verb] = {name: verb for group in GROUPS.values() for name, verb in group.items()}
