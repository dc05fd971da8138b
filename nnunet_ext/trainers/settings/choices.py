"""The names among which a training's optimizer, schedule and precision are chosen.

They stand here in full so that a setting is checked, and a wrong name answered with the right ones,
without importing torch.
"""

from __future__ import annotations

from typing import Literal

# All of timm's but those that need apex, bitsandbytes, opt_einsum (kron) or second derivatives, and its
# second names for others; `sgd` is nnU-Net's own.
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
