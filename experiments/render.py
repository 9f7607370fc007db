"""Write what follows from the results files: the README.md of every table and figure, the list of them, and the tables
between markers in READMEs that people write.

    python experiments/render.py            # writes; runs no solver
    python experiments/render.py --check    # writes nothing; exit code 1 where a file is not what its results say
"""

import argparse
import sys
from pathlib import Path
from statistics import fmean

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from paper_tables import Selection, load_experiment, page  # noqa: E402
from paper_tables.page import WRITTEN_BY, last_run, origin, outcomes  # noqa: E402

from lvis.cli.config import fail  # noqa: E402
from lvis.errors import UserError  # noqa: E402
from lvis.evaluate.table import Row, read_rows, summary  # noqa: E402
from lvis.files import write_text  # noqa: E402
from lvis.markdown import markdown_table  # noqa: E402

EXPERIMENTS = ROOT / "experiments"
# folder -> heading in the list; a folder is one table itself or holds those of a paper
PAPERS = {
    "overview": "All together",
    "instantvir": "InstantViR",
    "avis": "AVIS",
    "vision_xl": "VISION-XL",
}
# README.md that a person writes -> methods in the order of its table's columns
BY_HAND = {
    "tiny_world": ("pinv", "D(E(y))", "student", "D(E(x))"),
    "baselines": ("pinv", "admm_tv", "svi", "dps", "lvtino", "diffir2vr"),
}
BEGIN, END = "<!-- begin: results.jsonl -->", "<!-- end: results.jsonl -->"


def folders() -> list[Path]:
    """The folders of tables and figures, paper by paper."""
    return [folder for paper in PAPERS for folder in of_paper(paper)]


def of_paper(paper: str) -> list[Path]:
    inside = EXPERIMENTS / paper
    return sorted(path.parent for glob in ("", "*/") for path in inside.glob(f"{glob}config.yaml"))


def rendered() -> dict[Path, str]:
    """Every file that is written from results, and its text.

    Raises:
        UserError: a config.yaml that is not right, or a README.md without its markers.
    """
    texts = {
        folder / "README.md": page(load_experiment(folder / "config.yaml"), ROOT)
        for folder in folders()
    }
    texts[EXPERIMENTS / "README.md"] = index()
    for name, methods in BY_HAND.items():
        texts |= filled(EXPERIMENTS / name, methods)
    return texts


def filled(folder: Path, methods: tuple[str, ...]) -> dict[Path, str]:
    """A README.md with its results.jsonl summed up between the markers, and table.md beside it where there is one."""
    path = folder / "README.md"
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise UserError(f"{path} has no '{BEGIN}' and '{END}' around its table; put them there")
    rows = read_rows(folder / "results.jsonl")
    table = summary(rows, methods)
    seconds = f"\nSeconds per clip:\n\n{times(rows, methods)}\n"
    made = f"\nRows of results.jsonl: {origin(rows)}.\n"
    texts = {path: f"{before}{BEGIN}\n{table}{seconds}{made}{END}{after}"}
    if (folder / "table.md").is_file():
        texts[folder / "table.md"] = table
    return texts


def times(rows: list[Row], methods: tuple[str, ...]) -> str:
    """Seconds per clip, one line per kind of clip, task and VAE, for the methods that were timed."""
    cells: dict[tuple[str, str, str], dict[str, list[float]]] = {}
    for row in rows:
        if row["method"] in methods and row.get("seconds") is not None:
            place = cells.setdefault((row["clips"], row["task"], row["vae"]), {})
            place.setdefault(row["method"], []).append(row["seconds"])
    timed = [method for method in methods if any(method in found for found in cells.values())]
    lines = [
        [*place, *(f"{fmean(found[m]):.3f}" if m in found else "-" for m in timed)]
        for place, found in sorted(cells.items())
    ]
    return markdown_table(["clips", "task", "vae", *timed], lines)


def index() -> str:
    """The list of all tables and figures with their last results and verdicts."""
    about = (EXPERIMENTS / "about.md").read_text(encoding="utf-8").strip()
    parts = [WRITTEN_BY, "# Experiments", about]
    total = 0.0
    for paper, name in PAPERS.items():
        lines = []
        for folder in of_paper(paper):
            experiment = load_experiment(folder / "config.yaml")
            where = folder.relative_to(EXPERIMENTS).as_posix()
            title = experiment.title.removeprefix(name).lstrip(",: ")
            told = ", ".join(f"{outcome}: {n}" for outcome, n in outcomes(experiment).items())
            last = last_run(Selection(experiment))
            lines.append([f"[{title}]({where}/README.md)", last, f"{experiment.minutes:g}", told])
            total += experiment.minutes
        table = markdown_table(["table or figure", "last result", "minutes", "verdicts"], lines)
        parts.append(f"## {name}\n\n{table}")
    parts.append(
        "Minutes are estimates on one core, each folder alone; "
        f"together {total:g} at most, since folders share evaluations."
    )
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing, say what differs")
    check = parser.parse_args().check
    try:
        texts = rendered()
    except UserError as error:
        fail(error)
    stale = [path for path, text in texts.items() if _text(path) != text]
    for path in stale:
        print(f"{'differs' if check else 'wrote'}: {path.relative_to(ROOT)}")
        if not check:
            write_text(path, texts[path])
    raise SystemExit(1 if check and stale else 0)


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


if __name__ == "__main__":
    main()
