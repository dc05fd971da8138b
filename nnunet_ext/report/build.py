"""The page's sections, one after the other; one that fails says so and stops no other."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from nnunet_ext import __version__
from nnunet_ext.errors import NnunetExtError
from nnunet_ext.report.blocks import Block, Missing, Page, Section
from nnunet_ext.report.cases import case_blocks, overlay_blocks, pair_blocks
from nnunet_ext.report.dataset import dataset_blocks
from nnunet_ext.report.ensemble import ensemble_blocks
from nnunet_ext.report.material import Material
from nnunet_ext.report.training import curve_blocks, result_blocks, short_blocks, used_blocks

OnStep = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Part:
    """A section to make: its title, and what makes its blocks."""

    title: str
    make: Callable[[Material], list[Block]]


PARTS: Mapping[str, Part] = {
    "short": Part("In short", short_blocks),
    "dataset": Part("Data set and splits", dataset_blocks),
    "results": Part("Results", result_blocks),
    "curves": Part("Training", curve_blocks),
    "cases": Part("Cases", case_blocks),
    "comparison": Part("Models compared", pair_blocks),
    "ensemble": Part("Ensemble", ensemble_blocks),
    "overlays": Part("Best, median and worst case", overlay_blocks),
    "used": Part("What was used", used_blocks),
}


@dataclass(frozen=True)
class Built:
    """A page, and why sections of it could not be made, by their titles."""

    page: Page
    faults: dict[str, str]


def build_page(
    material: Material, on_step: OnStep = lambda name, n_done, n: None, parts: Mapping[str, Part] = PARTS
) -> Built:
    """Make every section.

    Args:
        material: what the page is made from.
        on_step: told the title of the next section, how many are done, and of how many.
        parts: the sections by their keys, in order.
    """
    sections: list[Section] = []
    faults: dict[str, str] = {}
    for key, part in parts.items():
        on_step(part.title, len(sections), len(parts))
        try:
            blocks = part.make(material)
        except NnunetExtError as error:
            faults[part.title] = f"{type(error).__name__}: {error}"
            blocks = [Missing(f"This section could not be made: {error}")]
        except Exception as error:  # a defect of ours must not take the page with it: it is shown whole
            faults[part.title] = traceback.format_exc()
            blocks = [Missing(f"This section could not be made: {type(error).__name__}: {error}")]
        sections.append(Section(key, part.title, tuple(blocks)))
    on_step("done", len(parts), len(parts))
    made = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M")
    about = f"{made}, nnunet_ext {__version__}"
    return Built(Page(material.dataset, about, tuple(sections)), faults)
