"""A configuration that `nnunet_ext plans` derived trains like nnU-Net's own."""

import json
import re

from nnunet_ext.cli.main import main

NAME = "2d_bs3_net"


def test_nnunet_trains_a_derived_configuration_by_its_name(lab, preprocessed, capsys):
    network = "features_per_stage=[4, 4, 8]"
    assert main(["plans", "-d", "901", "-c", "2d", "--batch_size", "3", "--network", network]) == 0
    memory = re.search(r"estimates it: ([\d.]+) GB -> ([\d.]+) GB", capsys.readouterr().out)
    assert memory
    # The fixture trains the configuration that its module names.
    lab.patch.setitem(type(lab).train.__globals__, "CONFIGURATION", NAME)
    lab.variables(n_epochs=1)
    trainer = lab.train()
    assert trainer.configuration_name == NAME
    assert trainer.configuration_manager.batch_size == 3
    assert trainer.network.encoder.output_channels == [4, 4, 8]
    folder = lab.results / "Dataset901_Tiny" / f"nnUNetTrainerCustomEpochs__nnUNetPlans__{NAME}"
    assert (folder / "fold_0" / "checkpoint_final.pth").exists()
    assert NAME in json.loads((folder / "plans.json").read_text())["configurations"]
