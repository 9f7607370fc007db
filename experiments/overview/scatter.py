"""Quality against speed, one panel per task: `python experiments/overview/scatter.py` after run.sh writes scatter.png.

One point per row of the table in README.md: mean PSNR and mean frames per second over clips. Circles stream,
diamonds need the whole clip.
"""

import sys
from pathlib import Path

import matplotlib  # noqa: TID253

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: TID253
from matplotlib.axes import Axes  # noqa: TID253

from lvis.files import replacing

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from paper_tables import Group, Selection, load_experiment  # noqa: E402

COLUMNS = 3
STREAMING = ("pinv", "avis", "avis_flash", "student_wan", "student_lean")


def panel(axes: Axes, selection: Selection, group: Group) -> None:
    """The solvers that have both numbers on this task."""
    experiment = selection.experiment
    for number, row in enumerate(experiment.rows):
        quality, rate = (
            selection.mean(experiment.clips[0], group, row, experiment.columns[name])
            for name in ("psnr", "rate")
        )
        if quality is None or rate is None:
            continue
        colour = plt.get_cmap("tab20")(2 * number % 20 + (2 * number >= 20))
        marker = "o" if row.id in STREAMING else "D"
        axes.plot(rate.mean, quality.mean, marker, color=colour, markersize=7, label=row.name)
    axes.set(title=group.name, xlabel="frames per second", ylabel="PSNR (dB)", xscale="log")
    axes.grid(alpha=0.3)


def draw(selection: Selection, path: Path) -> None:
    """A figure of all tasks with one legend."""
    groups = selection.experiment.groups
    lines = -(-(len(groups) + 1) // COLUMNS)
    figure, grid = plt.subplots(
        lines, COLUMNS, figsize=(4 * COLUMNS, 3.2 * lines), layout="constrained"
    )
    places = list(grid.flat)
    for axes, group in zip(places, groups, strict=False):
        panel(axes, selection, group)
    for axes in places[len(groups) :]:
        axes.axis("off")
    named = {}
    for axes in places[: len(groups)]:
        handles, labels = axes.get_legend_handles_labels()
        named |= dict(zip(labels, handles, strict=True))
    order = [row.name for row in selection.experiment.rows if row.name in named]
    places[len(groups)].legend(
        [named[name] for name in order], order, loc="center", frameon=False,
        title="circles stream, diamonds need the whole clip",
    )  # fmt: skip
    with replacing(path) as partial:
        figure.savefig(partial, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    drawn = Selection(load_experiment(HERE / "config.yaml"))
    if drawn.used():
        draw(drawn, HERE / drawn.experiment.picture)
