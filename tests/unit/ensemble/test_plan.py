from pathlib import Path

import numpy as np
import pytest
from factories import labels

from nnunet_ext.ensemble.plan import Member, Plan, equal_plan, expand_folder, resolve_weights, with_stages
from nnunet_ext.ensemble.plan_file import read_plan, write_plan
from nnunet_ext.errors import PlanError
from nnunet_ext.nnunet.model_folder import TrainedModel

PLAN = """
members:
  2d: [a, b]
  3d_fullres: {folders: "fold_*", weights: [2]}
weights:
  default: {2d: 1, 3d_fullres: 3}
  labels:
    right_ventricle: {2d: 1, 3d_fullres: 0}
    2: {2d: 0.5, 3d_fullres: 0.5}
postprocess:
  - keep_largest
"""


def write(folder: Path, text: str = PLAN) -> Path:
    for name in ("a", "b", "fold_0", "fold_1"):
        (folder / name).mkdir(exist_ok=True)
    path = folder / "plan.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_plan_that_does_not_exist_is_answered_with_how_to_get_one(tmp_path):
    with pytest.raises(PlanError, match=r"does not exist.*nnunet_ext tune"):
        read_plan(tmp_path / "plan.yaml")


def test_a_plan_is_read_with_its_folders_relative_to_the_file(tmp_path):
    plan = read_plan(write(tmp_path))
    assert [member.name for member in plan.members] == ["2d", "3d_fullres"]
    assert plan.members[0].folders == (tmp_path / "a", tmp_path / "b")
    assert plan.members[1].folders == (tmp_path / "fold_0", tmp_path / "fold_1")
    assert plan.members[1].folder_weights == (2.0, 2.0)
    assert plan.postprocess == ("keep_largest",)


def test_weights_are_normalised_for_each_label(tmp_path):
    weights = resolve_weights(read_plan(write(tmp_path)), labels())
    np.testing.assert_allclose(weights, [[0.25, 0.25, 0.5, 1], [0.75, 0.75, 0.5, 0]])


def test_without_weights_all_members_are_equal():
    plan = equal_plan({"a": [Path("x")], "b": [Path("y")]})
    np.testing.assert_array_equal(resolve_weights(plan, labels()), np.full((2, 4), 0.5))


@pytest.mark.parametrize(
    ("default", "by_label", "part"),
    [
        ({"a": 1, "b": -1}, {}, "-1"),
        ({"a": 1, "b": float("nan")}, {}, "nan"),
        ({"a": 0, "b": 0}, {}, "all are 0"),
        ({"a": 1}, {}, r"no weight for \['b'\]"),
        ({"a": 1, "b": 1, "c": 1}, {}, "'c' is unknown"),
        ({}, {"liver": {"a": 1, "b": 1}}, r"'liver' is unknown.*myocardium \(1\)"),
        ({}, {"myocardium": {"a": 0, "b": 0}}, "'myocardium': all are 0"),
        ({}, {"myocardium": {"a": 1, "b": 0}, 1: {"a": 1, "b": 0}}, "twice"),
    ],
)
def test_weights_that_cannot_be_used_are_refused_with_their_values(default, by_label, part):
    plan = equal_plan({"a": [Path("x")], "b": [Path("y")]})
    with pytest.raises(PlanError, match=part):
        resolve_weights(Plan(members=plan.members, default_weights=default, label_weights=by_label), labels())


def test_all_faults_of_the_weights_are_told_at_once():
    plan = Plan(
        members=equal_plan({"a": [Path("x")]}).members,
        default_weights={"a": -1},
        label_weights={"liver": {"a": 1}, "myocardium": {"z": 1}},
    )
    with pytest.raises(PlanError) as caught:
        resolve_weights(plan, labels())
    assert len(str(caught.value).splitlines()) == 5


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("members: {2d: [a, gone]}", "gone"),
        ("members: {2d: {folders: [a, b], weights: [1]}}", "1 weights for 2 folders"),
        ("members: {}", "members"),
        ("member: {2d: a}", "member"),
        ("members: {2d: a}\nweights: {default: {2d: -1}}", "weights.default.2d"),
        ("members: {2d: a}\nweights: {default: {2d: .nan}}", "weights.default.2d"),
        ("members: {2d: a}\nweights: {default: {2d: heavy}}", "heavy"),
        ("members: [", "YAML"),
        ("- a", "the file"),
    ],
)
def test_a_file_that_is_no_plan_is_refused_with_the_place(tmp_path, text, part):
    with pytest.raises(PlanError, match=part):
        read_plan(write(tmp_path, text))


def test_a_star_stands_for_any_folder_and_files_are_no_folders(tmp_path):
    write(tmp_path)
    (tmp_path / "fold_2").touch()
    assert expand_folder("fold_*", tmp_path) == [tmp_path / "fold_0", tmp_path / "fold_1"]
    assert expand_folder(str(tmp_path / "fold_*"), Path("elsewhere")) == [
        tmp_path / "fold_0",
        tmp_path / "fold_1",
    ]
    assert expand_folder("fold_2", tmp_path) == []


def test_a_plan_that_is_written_reads_back_the_same(tmp_path):
    read = read_plan(write(tmp_path))
    target = tmp_path / "deeper" / "tuned.yaml"
    write_plan(read, target, ["learnt on 12 cases: ä", "second line"])
    back = read_plan(target)
    assert target.read_text(encoding="utf-8").startswith("# learnt on 12 cases: ä\n# second line\nmembers:")
    assert [[f.resolve() for f in m.folders] for m in back.members] == [list(m.folders) for m in read.members]
    np.testing.assert_array_equal(resolve_weights(back, labels()), resolve_weights(read, labels()))
    assert back.postprocess == read.postprocess


def test_weights_are_written_to_the_last_digit(tmp_path):
    third = {"a": 1 / 3, "b": 2 / 3}
    members = tuple(Member(name=name, folders=(tmp_path,), folder_weights=(1.0,)) for name in third)
    write_plan(
        Plan(members=members, default_weights=third, label_weights={"left_ventricle": {"a": 0.1, "b": 0.9}}),
        tmp_path / "plan.yaml",
    )
    back = read_plan(tmp_path / "plan.yaml")
    assert back.default_weights == third
    assert back.label_weights == {"left_ventricle": {"a": 0.1, "b": 0.9}}


def test_other_folders_may_be_given_for_a_plans_members(tmp_path):
    path = write(tmp_path)
    (tmp_path / "a").rmdir()  # those it names need not be there any more
    plan = read_plan(path, {"2d": [tmp_path / "new"]})
    assert plan.members[0] == Member(name="2d", folders=(tmp_path / "new",), folder_weights=(1.0,))
    assert plan.members[1].folder_weights == (2.0, 2.0)
    with pytest.raises(PlanError, match=r"no members \['4d'\]; its members are \['2d', '3d_fullres'\]"):
        read_plan(path, {"4d": [tmp_path]})


MODELS = """
members:
  2d: {results: {d: 1, c: 2d, f: [0, all]}, mirroring: no, weights: [1, 3]}
  full:
    results: {d: Dataset001_Heart, tr: Mine, p: Own, c: 3d_fullres, f: 3, chk: best.pth}
    folds: logits
    step_size: 0.7
  cascade: {results: {d: 1, c: 3d_cascade_fullres}, previous_stage: full}
"""


def test_a_plan_of_trained_models_that_is_written_reads_back_the_same(tmp_path):
    read = read_plan(write(tmp_path, MODELS))
    write_plan(read, tmp_path / "again.yaml")
    assert read_plan(tmp_path / "again.yaml").members == read.members


def test_a_member_can_be_folders_and_the_model_that_predicts_new_cases(tmp_path):
    model = TrainedModel(dataset="Dataset001_Heart", configuration="2d", folds=("0", "1", "3"))
    validation = tuple(tmp_path / f"fold_{fold}" for fold in (0, 1))
    member = Member(name="2d", folders=validation, folder_weights=(1.0, 1.0), model=model)
    path = write(tmp_path)
    write_plan(Plan(members=(member,)), path)
    assert read_plan(path).members == (member,)
    assert member.fold_weights == (1.0, 1.0, 1.0)
    validation[1].rmdir()  # as on another machine, where only the model was taken
    assert read_plan(path).members == (
        Member(name="2d", folders=(), folder_weights=(1.0, 1.0, 1.0), model=model),
    )


def test_what_members_begin_with_is_needed_as_well():
    stages = {"2d": None, "low": None, "middle": "low", "high": "middle"}
    members = [
        Member(name=name, folders=(), folder_weights=(), previous_stage=stage)
        for name, stage in stages.items()
    ]
    assert with_stages(members, ["high"]) == {"low", "middle", "high"}
    assert with_stages(members, ["2d", "middle"]) == {"2d", "low", "middle"}
    circle = [
        Member(name="a", folders=(), folder_weights=(), previous_stage="b"),
        Member(name="b", folders=(), folder_weights=(), previous_stage="a"),
    ]
    assert with_stages(circle, ["a"]) == {"a", "b"}


def test_members_can_be_trained_models_each_with_its_own_way_to_predict(tmp_path):
    flat, full, cascade = read_plan(write(tmp_path, MODELS)).members
    assert flat.model == TrainedModel(dataset="1", configuration="2d", folds=("0", "all"), mirroring=False)
    assert flat.folder_weights == (1.0, 3.0) and flat.folders == ()
    assert full.model == TrainedModel(
        dataset="Dataset001_Heart",
        configuration="3d_fullres",
        trainer="Mine",
        plans="Own",
        folds=("3",),
        checkpoint="best.pth",
        fold_mean="logits",
        step_size=0.7,
    )
    assert cascade.previous_stage == "full" and cascade.model.folds == ("0", "1", "2", "3", "4")


@pytest.mark.parametrize(
    ("member", "part"),
    [
        (
            "{folders: [a], results: {d: 1, c: 2d}, weights: [2, 1, 1, 1, 1]}",
            "folders and results has no weights",
        ),
        ("{mirroring: no}", "give folders of probabilities, the results of a training, or both"),
        ("{folders: [a], folds: logits, step_size: 1}", "folds, step_size can only be given with results"),
        ("{results: {d: 1, c: 2d}, step_size: 0}", "step_size"),
        ("{results: {d: 1, c: 2d}, folds: votes}", "folds"),
        ("{results: {d: 1}}", "results.c"),
        ("{results: {d: 1, c: 2d, f: []}}", "results.f"),
        ("{results: {d: 1, c: 2d, f: [0, 1]}, weights: [1]}", "1 weights for 2 folds"),
        ("{results: {d: 1, c: 2d, f: [0]}, folds: logits, weights: [1]}", "have no weights"),
    ],
)
def test_a_trained_model_that_is_not_one_is_refused(tmp_path, member, part):
    with pytest.raises(PlanError, match=part):
        read_plan(write(tmp_path, f"members: {{m: {member}}}"))


def test_a_name_that_no_disk_takes_is_no_folder(tmp_path):
    assert expand_folder("é" * 300, tmp_path) == []
