"""Weights of another training: which of them come into the network, and where a training takes them."""

from __future__ import annotations

import re

import pytest

from nnunet_ext.errors import SettingsError

torch = pytest.importorskip("torch", reason="torch cannot be imported")
pretrained = pytest.importorskip("nnunet_ext.trainers.pretrained")

EXT, PLAIN = "nnUNetTrainerExt", "nnUNetTrainer"
UNETPP = "nnUNetTrainerUNetPlusPlus"
FINAL = "checkpoint_final.pth"
LIVER = {"background": 0, "liver": 1}
FIRST = "encoder.stages.0.0.convs.0.conv.weight"
KINDS = ("loaded", "reshaped", "other shape", "other labels", "only here", "only there")


def unet(n_channels=1, n_heads=2, seed=0, n_axes=2):
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    torch.manual_seed(seed)
    return PlainConvUNet(
        n_channels, 2, (4, 8), (torch.nn.Conv2d, torch.nn.Conv3d)[n_axes - 2], 3, (1, 2), 1, n_heads, 1,
        conv_bias=True, norm_op=(torch.nn.InstanceNorm2d, torch.nn.InstanceNorm3d)[n_axes - 2],
        norm_op_kwargs={"affine": True}, nonlin=torch.nn.LeakyReLU,
    )  # fmt: skip


def dataset(n_channels=1, labels=LIVER):
    return {"channel_names": {str(i): "MRI" for i in range(n_channels)}, "labels": labels}


def written(path, network, described=None, prefix=""):
    weights = {prefix + name: tensor for name, tensor in network.state_dict().items()}
    torch.save({"network_weights": weights, "init_args": {"dataset_json": described or dataset()}}, path)
    return pretrained.read_pretrained(path)


def counts(moved):
    return {kind: moved.count(kind) for kind in KINDS if moved.count(kind)}


def same(network, other):
    return all(torch.equal(a, b) for a, b in zip(network.parameters(), other.parameters(), strict=True))


# What fits


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_a_network_of_the_same_kind_takes_everything_and_each_tensor_counts_once(tmp_path, prefix):
    there, here = unet(), unet(seed=1)
    moved = pretrained.transfer(written(tmp_path / "w.pth", there, prefix=prefix), here, dataset())
    assert counts(moved) == {"loaded": len(list(here.parameters()))}
    assert len(here.state_dict()) > len(list(here.parameters()))
    assert same(here, there)


def test_a_file_of_tensors_alone_is_read_and_gives_all_but_heads(tmp_path):
    torch.save(unet().state_dict(), tmp_path / "w.pth")
    moved = pretrained.transfer(pretrained.read_pretrained(tmp_path / "w.pth"), unet(seed=1), dataset())
    assert counts(moved) == {"loaded": 14, "other labels": 2}


def test_heads_of_other_labels_stay_out_even_where_their_shape_fits(tmp_path):
    there, here, before = unet(), unet(seed=1), unet(seed=1)
    weights = written(tmp_path / "w.pth", there, dataset(labels={"background": 0, "spleen": 1}))
    assert counts(pretrained.transfer(weights, here, dataset())) == {"loaded": 14, "other labels": 2}
    assert torch.equal(here.decoder.seg_layers[0].weight, before.decoder.seg_layers[0].weight)
    assert torch.equal(
        here.encoder.stages[0][0].convs[0].conv.weight, there.encoder.stages[0][0].convs[0].conv.weight
    )


def test_an_encoder_alone_goes_into_another_network(tmp_path):
    class OnlyEncoder(torch.nn.Module):
        def __init__(self, seed):
            super().__init__()
            self.encoder = unet(seed=seed).encoder
            self.head = torch.nn.Conv2d(8, 5, 1)

    there, here = unet(), OnlyEncoder(1)
    moved = pretrained.transfer(written(tmp_path / "w.pth", there), here, dataset())
    assert counts(moved) == {"loaded": 8, "only here": 2, "only there": 8}
    assert same(here.encoder, there.encoder)


# The first convolution


@pytest.mark.parametrize(("n_there", "n_here"), [(1, 2), (3, 1), (2, 3)])
def test_channels_that_are_alike_give_the_output_that_they_gave(tmp_path, n_there, n_here):
    there, here = unet(n_there), unet(n_here, seed=1)
    weights = written(tmp_path / "w.pth", there, dataset(n_there))
    assert counts(pretrained.transfer(weights, here, dataset(n_here))) == {"loaded": 15, "reshaped": 1}
    scan = torch.randn(1, 1, 16, 16)
    with torch.no_grad():
        expected = there(scan.expand(-1, n_there, -1, -1))
        torch.testing.assert_close(here(scan.expand(-1, n_here, -1, -1)), expected)


def test_a_cascade_begins_as_the_network_without_a_previous_stage(tmp_path):
    there, here = unet(1), unet(2, seed=1)
    weights = written(tmp_path / "w.pth", there)
    assert counts(pretrained.transfer(weights, here, dataset())) == {"loaded": 15, "reshaped": 1}
    scan, previous = torch.randn(1, 1, 16, 16), torch.ones(1, 1, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(here(torch.cat([scan, previous], 1)), there(scan))
    here(torch.cat([scan, previous], 1)).sum().backward()
    assert here.encoder.stages[0][0].convs[0].conv.weight.grad[:, 1].abs().sum() > 0


def test_a_previous_stage_of_other_labels_counts_for_nothing(tmp_path):
    there, here = unet(2), unet(2, seed=1)
    weights = written(tmp_path / "w.pth", there, dataset(labels={"background": 0, "spleen": 1}))
    moved = pretrained.transfer(weights, here, dataset())
    assert counts(moved) == {"loaded": 13, "reshaped": 1, "other labels": 2}
    first = dict(here.named_parameters())[FIRST]
    assert torch.equal(first[:, 0], dict(there.named_parameters())[FIRST][:, 0])
    assert not first[:, 1].any()


def test_a_previous_stage_of_the_same_labels_is_kept(tmp_path):
    there, here = unet(2), unet(2, seed=1)
    assert counts(pretrained.transfer(written(tmp_path / "w.pth", there), here, dataset())) == {"loaded": 16}


# What does not


def test_weights_of_which_nothing_fits_are_refused_with_both_shapes(tmp_path):
    here, before = unet(n_axes=3, seed=1), unet(n_axes=3, seed=1)
    weights = written(tmp_path / "w.pth", unet())
    with pytest.raises(SettingsError) as error:
        pretrained.transfer(weights, here, dataset())
    assert f"Here: {FIRST} (4, 1, 3, 3, 3), " in str(error.value)
    assert f"There: {FIRST} (4, 1, 3, 3), " in str(error.value)
    assert str(tmp_path / "w.pth") in str(error.value)
    assert same(here, before)


@pytest.mark.parametrize("torn", [b"", b"PK\x03\x04", b"\x80\x02}q\x00.", b"text", b"\x80\x02cno\nsuch\n."])
def test_a_damaged_file_is_refused(tmp_path, torn):
    (tmp_path / "w.pth").write_bytes(torn)
    with pytest.raises(SettingsError, match=r"pretrained_weights is .*w\.pth"):
        pretrained.read_pretrained(tmp_path / "w.pth")


def test_a_cut_off_checkpoint_is_refused(tmp_path):
    written(tmp_path / "w.pth", unet())
    content = (tmp_path / "w.pth").read_bytes()
    (tmp_path / "w.pth").write_bytes(content[: len(content) // 2])
    with pytest.raises(SettingsError, match="cannot be read as a checkpoint"):
        pretrained.read_pretrained(tmp_path / "w.pth")


# In a training


@pytest.fixture
def noticed(monkeypatch):
    """The network's weights at the beginning of each training's first epoch."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    begin, seen = nnUNetTrainer.on_train_epoch_start, []

    def on_train_epoch_start(trainer):
        seen.append({name: one.clone() for name, one in trainer.network.state_dict().items()})
        begin(trainer)

    monkeypatch.setattr(nnUNetTrainer, "on_train_epoch_start", on_train_epoch_start)
    return seen


def test_a_training_begins_with_them_and_says_so(lab, read, noticed):
    lab.variables(n_epochs=1)
    lab.train("nnUNetTrainerCustomEpochs")
    path = lab.fold("nnUNetTrainerCustomEpochs") / FINAL
    lab.variables(pretrained_weights=path)
    lab.train(EXT)
    expected = read(path)["network_weights"]
    assert all(torch.equal(tensor, expected[name]) for name, tensor in noticed[-1].items())
    log = lab.log(EXT)
    assert f"Pretrained weights of {path}:" in log
    assert "encoder.stages.0 " in log


def test_a_plain_unets_encoder_comes_into_a_unet_plus_plus_and_the_table_says_what_did_not(
    lab, read, noticed
):
    lab.variables(n_epochs=1)
    lab.train("nnUNetTrainerCustomEpochs")
    path = lab.fold("nnUNetTrainerCustomEpochs") / FINAL
    lab.variables(pretrained_weights=path)
    lab.train(UNETPP)
    plain = read(path)["network_weights"]
    encoder = [name for name in noticed[-1] if name.startswith("encoder.")]
    assert encoder == [name for name in plain if name.startswith("encoder.")]
    assert all(torch.equal(noticed[-1][name], plain[name]) for name in encoder)
    log = lab.log(UNETPP)
    lines = log[log.index("Pretrained weights of") :].splitlines()[1:]
    header, *rows = (re.split(r"  +", line.strip()) for line in lines)
    table = {row[0]: dict(zip(header[1:], row[1:], strict=True)) for row in rows if len(row) == len(header)}
    n_loaded = 8  # of two convolutions, each with its norm, without names for the same
    for stage in range(3):
        assert table[f"encoder.stages.{stage}"]["loaded"].startswith(f"{n_loaded} ")
    nodes = [row for module, row in table.items() if module.startswith("decoder.nodes.")]
    assert nodes
    assert all(row["loaded"] == "-" and row["only here"] != "-" for row in nodes)
    assert table["decoder.stages.0"]["only there"] != "-"


def test_an_average_begins_with_them_too(lab, read, monkeypatch):
    from nnunet_ext.trainers.mixins import averaging as averaged

    class Noticing(averaged.WeightAverage):
        def __init__(self, network, *options):
            began.append({name: one.clone() for name, one in network.state_dict().items()})
            super().__init__(network, *options)

    began = []
    monkeypatch.setattr(averaged, "WeightAverage", Noticing)
    lab.variables(n_epochs=1)
    lab.train("nnUNetTrainerCustomEpochs")
    path = lab.fold("nnUNetTrainerCustomEpochs") / FINAL
    lab.variables(pretrained_weights=path, ema_decay=0.9)
    lab.train(EXT)
    assert torch.equal(began[0][FIRST], read(path)["network_weights"][FIRST])


def test_averaged_weights_of_ours_are_the_ones_taken(lab, read, noticed):
    lab.variables(n_epochs=1, n_iterations=3, ema_decay=0.9)
    name = EXT + "_ep1"
    lab.train(name)
    path = lab.fold(name) / FINAL
    lab.variables(pretrained_weights=path, ema_decay=None)
    lab.train(EXT)
    content = read(path)
    assert torch.equal(noticed[-1][FIRST], content["network_weights"][FIRST])
    assert not torch.equal(noticed[-1][FIRST], content["nnunet_ext"]["trained_weights"][FIRST])


def test_a_training_that_goes_on_needs_neither_them_nor_the_file(lab, read, noticed, tmp_path):
    lab.variables(n_epochs=1)
    lab.train("nnUNetTrainerCustomEpochs")
    path = tmp_path / "start.pth"
    (lab.fold("nnUNetTrainerCustomEpochs") / FINAL).rename(path)
    lab.variables(n_epochs=2, save_every=1, pretrained_weights=path)
    lab.train_and_kill(EXT, epoch=1)
    path.unlink()
    reached = read(lab.fold(EXT) / "checkpoint_latest.pth")["network_weights"]
    lab.train(EXT, continue_training=True)
    assert torch.equal(noticed[-1][FIRST], reached[FIRST])
    assert lab.log(EXT).count("Pretrained weights of") == 1


def test_one_that_was_to_go_on_from_nothing_begins_with_them(lab, read, noticed):
    lab.variables(n_epochs=1)
    lab.train("nnUNetTrainerCustomEpochs")
    path = lab.fold("nnUNetTrainerCustomEpochs") / FINAL
    lab.variables(pretrained_weights=path)
    lab.train(EXT, continue_training=True)
    assert torch.equal(noticed[-1][FIRST], read(path)["network_weights"][FIRST])


@pytest.mark.parametrize("content", [None, b"half of it"])
def test_a_file_that_cannot_be_read_ends_the_program_before_a_folder_is_made(lab, tmp_path, capsys, content):
    path = tmp_path / "start.pth"
    if content is not None:
        path.write_bytes(content)
    lab.variables(n_epochs=1, pretrained_weights=path)
    with pytest.raises(SystemExit) as exit_:
        lab.train(EXT)
    assert exit_.value.code == 2
    assert f"SettingsError: pretrained_weights is {path}, which cannot be read" in capsys.readouterr().err
    assert not lab.results.exists()


def test_weights_that_do_not_fit_end_the_program(lab, tmp_path, capsys):
    written(tmp_path / "start.pth", unet(n_axes=3))
    lab.variables(n_epochs=1, pretrained_weights=tmp_path / "start.pth")
    with pytest.raises(SystemExit) as exit_:
        lab.train(EXT)
    assert exit_.value.code == 2
    assert "of which nothing fits this network" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [None, {}, {"dataset_json": None}, [1]])
def test_a_checkpoint_that_does_not_tell_its_data_set_gives_its_weights(tmp_path, arguments):
    content = {"network_weights": {"a": torch.zeros(2)}, "init_args": arguments}
    torch.save(content, tmp_path / "w.pth")
    assert pretrained.read_pretrained(tmp_path / "w.pth").dataset == {}
