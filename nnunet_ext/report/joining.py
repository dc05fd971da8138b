"""One history of several sources, with the labels' names."""

from __future__ import annotations

from nnunet_ext.labels import Labels
from nnunet_ext.report.history import Epoch, History, differences, joined
from nnunet_ext.report.logs import Log
from nnunet_ext.report.sources import Source

SHOWN_DIFFERENCES = 3


def merged(log: Log, exact: Source, labels: Labels | None) -> tuple[History, tuple[str, ...]]:
    """Make one history of the logs and a file with exact values, which must say the same.

    Args:
        log: what the logs say, rounded.
        exact: what the file says; its values are taken where the two agree. Where they do not, the
            log is believed, and of the file only the epochs before the log's.
        labels: the data set's; None where they cannot be read.

    Returns:
        The history, and notes on what could not be read and where the two differ.
    """
    notes = [*log.notes, *exact.notes]
    if log.is_version_1:
        notes.append("this is a log of nnU-Net v1, which is not read")
    found = differences(log.epochs, exact.epochs)
    if found:
        more = f" and {len(found) - SHOWN_DIFFERENCES} more" if len(found) > SHOWN_DIFFERENCES else ""
        shown = "; ".join(found[:SHOWN_DIFFERENCES])
        notes.append(f"the log and the file beside it differ, and the log is believed: {shown}{more}")
        first = log.epochs[0].number
        epochs = joined((epoch for epoch in exact.epochs if epoch.number < first), log.epochs)
    else:
        epochs = joined(log.epochs, exact.epochs)
    names, note = _names(epochs, exact.labels, labels)
    return History(names, epochs, log.judged_best), (*notes, *note)


def _names(
    epochs: tuple[Epoch, ...], recorded: tuple[str, ...], labels: Labels | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The labels' names; where none of the lists fits the values of an epoch, their numbers."""
    own = () if labels is None else tuple(labels.names[i] for i in labels.foreground)
    n_values = max((len(epoch.dice) for epoch in epochs), default=len(own or recorded))
    for names in (own, recorded):
        if len(names) == n_values:
            return names, ()
    numbered = tuple(str(i + 1) for i in range(n_values))
    if not own:
        return numbered, ()
    return numbered, (f"the logs hold {n_values} Dice an epoch, but dataset.json {len(own)} labels",)
