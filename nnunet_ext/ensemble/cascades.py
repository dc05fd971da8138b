"""Previous stages of cascades: which members' segmentations they begin with, and the order of the members."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from nnunet_ext.ensemble.plan import Member
from nnunet_ext.errors import PlanError
from nnunet_ext.nnunet.model_folder import ModelFiles


def stages_for(cascade: ModelFiles, models: Mapping[str, ModelFiles]) -> list[str]:
    """Return the names of the models that can be a cascade's previous stage, of its data set and plans.

    Raises:
        DatasetError: its plans cannot be read.
    """
    configuration = cascade.previous_stage()
    return [
        name
        for name, other in models.items()
        if other.model.configuration == configuration
        and other.folder.parent == cascade.folder.parent
        and other.model.plans == cascade.model.plans
    ]


class CascadeOrder:
    """The order in which members run, each after its previous stage.

    Args:
        members: the members of a plan.
        found: each member's files.
    """

    def __init__(self, members: Sequence[Member], found: Mapping[str, ModelFiles]) -> None:
        self._found = found
        self.previous = {member.name: self._previous_of(member) for member in members}

    def order(self, names: Iterable[str]) -> list[str]:
        """Return the names with all previous stages that they need, each after its previous stage."""
        ordered: list[str] = []
        for name in names:
            chain: list[str] = []
            stage: str | None = name
            while stage is not None and stage not in ordered:
                if stage in chain:
                    raise PlanError(f"Member {name} is its own previous stage.")
                chain.append(stage)
                stage = self.previous[stage]
            ordered += reversed(chain)
        return ordered

    def _previous_of(self, member: Member) -> str | None:
        files = self._found[member.name]
        configuration = files.previous_stage()
        if configuration is None:
            if member.previous_stage is not None:
                raise PlanError(f"Member {member.name} is no cascade and has no previous stage.")
            return None
        if member.previous_stage is not None:
            if member.previous_stage not in self._found:
                raise PlanError(
                    f"Member {member.name}: its previous stage {member.previous_stage} is unknown."
                )
            return member.previous_stage
        fitting = stages_for(files, self._found)
        if len(fitting) != 1:
            there = (
                f"{len(fitting)} members have it ({', '.join(fitting)})" if fitting else "no member has it"
            )
            raise PlanError(
                f"Member {member.name} is a cascade that begins with segmentations of {configuration}, and "
                f"{there}. Name one with `previous_stage`; with weight 0 it counts for nothing else."
            )
        return fitting[0]
