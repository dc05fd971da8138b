"""The report's section on the data set and its splits."""

import json

from nnunet_ext.nnunet.folders import DatasetFolders
from nnunet_ext.nnunet.subjects import Subjects
from nnunet_ext.report.blocks import ListBlock, TextBlock
from nnunet_ext.report.dataset import dataset_blocks
from nnunet_ext.report.material import Material


def blocks(tmp_path, subjects):
    splits = [{"train": ["p1_a", "p2_a"], "val": ["p1_b"]}, {"train": ["p1_a"], "val": ["p2_a"]}]
    (tmp_path / "splits_final.json").write_text(json.dumps(splits), encoding="utf-8")
    folders = DatasetFolders("Dataset001_A", None, tmp_path, None)
    return dataset_blocks(Material(folders=folders, runs=(), subjects=subjects))


def test_a_subject_on_both_sides_of_a_fold_is_named(tmp_path):
    (items,) = [one for one in blocks(tmp_path, Subjects(pattern="p.")) if isinstance(one, ListBlock)]
    assert items.items == ("Fold 0 trains and validates scans of p1: its scores will be too good.",)


def test_unknown_subjects_are_noted_with_the_command_that_tells_them(tmp_path):
    texts = [one.text for one in blocks(tmp_path, None) if isinstance(one, TextBlock)]
    assert any("nnunet_ext splits --audit --subject_pattern" in text for text in texts)
