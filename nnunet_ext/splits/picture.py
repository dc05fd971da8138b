"""The picture of an audit: label by fold."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nnunet_ext.files import written_whole
from nnunet_ext.splits.audit import Audit

INCHES_A_FOLD, INCHES_A_LABEL, MARGIN_INCHES = 0.8, 0.5, 2.2
BRIGHT = 0.6


def draw_audit(audit: Audit, path: Path) -> None:
    """Draw how many validation cases of each fold hold each label; the ending chooses the format."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    counts = np.array(list(audit.holding.values()), np.intp).reshape(-1, len(audit.n_val))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = (
        MARGIN_INCHES + INCHES_A_FOLD * counts.shape[1],
        MARGIN_INCHES / 2 + INCHES_A_LABEL * (counts.shape[0] + 1),
    )
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="viridis", vmin=0)
    for (row, column), count in np.ndenumerate(counts):
        colour = "black" if shares[row, column] > BRIGHT * shares.max() else "white"
        axes.text(column, row, str(count), ha="center", va="center", color=colour)
    axes.set_xticks(range(counts.shape[1]), [f"{i}\n({n})" for i, n in enumerate(audit.n_val)])
    axes.set_yticks(range(len(audit.holding)), list(audit.holding))
    axes.set_xlabel("fold (validation cases)")
    axes.set_title("validation cases that hold each label", fontsize="medium")
    with written_whole(path) as part:
        FigureCanvasAgg(figure).print_figure(part, dpi=120)
