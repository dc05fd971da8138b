"""Settings resolved for tests, and the faults that refuse them."""

from __future__ import annotations

import pytest

from nnunet_ext.errors import SettingsError
from nnunet_ext.trainers.settings.definition import EarlyStoppingSettings, ExtSettings
from nnunet_ext.trainers.settings.resolution import resolve_settings

EVERY_NAME = list(ExtSettings.model_fields)


def resolve(model=EarlyStoppingSettings, *, ignore_case=False, **variables):
    return resolve_settings(model, variables, ignore_case=ignore_case)


def faults(model=EarlyStoppingSettings, *, ignore_case=False, **variables):
    """The faults of these variables, a line each."""
    with pytest.raises(SettingsError) as raised:
        resolve_settings(model, variables, ignore_case=ignore_case)
    head, *lines = str(raised.value).splitlines()
    assert head == "The training was not started; nothing was written."
    return lines
