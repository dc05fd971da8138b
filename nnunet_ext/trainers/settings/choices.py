"""Names of optimizers, schedules, precisions and ways of sampling.

They are listed here in full so that settings are checked, and wrong names answered with the right ones,
without the import of torch and timm.
"""

from __future__ import annotations

from typing import Literal

# `sgd` is nnU-Net's own. The others are timm's, without those that need apex, bitsandbytes, opt_einsum (kron)
# or second derivatives, and without second names.
OptimizerName = Literal[
    "sgd", "momentum", "sgdp", "sgdw", "sgdc", "csgdw", "csgdc",
    "adam", "adamw", "adamc", "adamp", "adamax", "cadamw", "cadamc",
    "nadam", "nadamw", "nadamc", "cnadamw", "cnadamc", "radam", "radamw",
    "adafactor", "adafactorbv", "adafactorbvc", "cadafactor", "cadafactorbv", "cadafactorbvc",
    "adopt", "adoptw", "adoptc", "cadopt", "cadoptw", "cadoptc",
    "adan", "adanw", "cadan", "cadanw", "adabelief", "radabelief", "adadelta", "adagrad",
    "lamb", "lambc", "lambw", "lambcw", "lambcd", "clamb", "clambw", "lars", "larc", "nlars", "nlarc",
    "laprop", "lapropc", "claprop", "lion", "lionc", "clion", "clionc",
    "madgrad", "madgradw", "mars", "cmars", "muon", "nmuon", "novograd",
    "rmsprop", "rmsproptf", "rmsproptfc", "crmsproptf",
]  # fmt: skip
ScheduleName = Literal["poly", "cosine", "restarts", "step", "exponential", "plateau"]
AmpName = Literal["auto", "fp16", "bf16", "off"]
CaseSampling = Literal["uniform", "balanced"]
