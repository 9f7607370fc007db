"""Write what follows from the results files: the README.md of every table and figure, the list of them, and the tables
between markers in READMEs that people write.

    python experiments/render.py            # writes; runs no solver
    python experiments/render.py --check    # writes nothing; exit code 1 where a file is not what its results say
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from lvis.config import fail  # noqa: E402
from lvis.errors import UserError  # noqa: E402
from lvis.evaluation.table import read_rows, summary  # noqa: E402
from lvis.files import write_text  # noqa: E402
from lvis.paper_tables import Selection, load_experiment, page  # noqa: E402
from lvis.paper_tables.page import WRITTEN_BY, last_run, markdown_table, outcomes  # noqa: E402

EXPERIMENTS = ROOT / "experiments"
PAPERS = {"instantvir": "InstantViR", "avis": "AVIS", "vision_xl": "VISION-XL"}
# README.md that a person writes -> results file, methods in the order of its columns
BY_HAND = {
    "tiny_world": ("pinv", "D(E(y))", "student", "D(E(x))"),
    "baselines": ("pinv", "admm_tv", "svi", "dps"),
}
BEGIN, END = "<!-- begin: results.jsonl -->", "<!-- end: results.jsonl -->"


def folders() -> list[Path]:
    """The folders of tables and figures, paper by paper."""
    return [
        path.parent
        for paper in PAPERS
        for path in sorted(EXPERIMENTS.glob(f"{paper}/*/config.yaml"))
    ]


def rendered() -> dict[Path, str]:
    """Every file that is written from results, and its text.

    Raises:
        UserError: a config.yaml that is not right, or a README.md without its markers.
    """
    texts = {folder / "README.md": page(load_experiment(folder / "config.yaml"), ROOT) for folder in folders()}  # fmt: skip
    texts[EXPERIMENTS / "README.md"] = index()
    for name, methods in BY_HAND.items():
        texts |= filled(EXPERIMENTS / name, methods)
    return texts


def filled(folder: Path, methods: tuple[str, ...]) -> dict[Path, str]:
    """A README.md with the summary of its results.jsonl between the markers, and the table beside it if there is one."""
    path = folder / "README.md"
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise UserError(f"{path} has no '{BEGIN}' and '{END}' around its table; put them there")
    table = summary(read_rows(folder / "results.jsonl"), methods)
    texts = {path: f"{before}{BEGIN}\n{table}{END}{after}"}
    if (folder / "table.md").is_file():
        texts[folder / "table.md"] = table
    return texts


def index() -> str:
    """The list of all tables and figures with their last results and verdicts."""
    parts = [WRITTEN_BY, "# Experiments", (EXPERIMENTS / "about.md").read_text(encoding="utf-8").strip()]  # fmt: skip
    for paper, name in PAPERS.items():
        lines = []
        for folder in (folder for folder in folders() if folder.parent.name == paper):
            experiment = load_experiment(folder / "config.yaml")
            where = folder.relative_to(EXPERIMENTS).as_posix()
            told = ", ".join(f"{outcome}: {n}" for outcome, n in outcomes(experiment).items())
            lines.append([
                f"[{experiment.title.removeprefix(name + ', ')}]({where}/README.md)",
                last_run(Selection(experiment)), f"{experiment.minutes:g}", told or "no claim",
            ])  # fmt: skip
        table = markdown_table(["table or figure", "last result", "minutes", "verdicts"], lines)
        parts.append(f"## {name}\n\n{table}")
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)  # fmt: skip
    parser.add_argument("--check", action="store_true", help="write nothing, say what differs")
    check = parser.parse_args().check
    try:
        texts = rendered()
    except UserError as error:
        fail(error)
    stale = [path for path, text in texts.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]  # fmt: skip
    for path in stale:
        print(f"{'differs' if check else 'wrote'}: {path.relative_to(ROOT)}")
        if not check:
            write_text(path, texts[path])
    raise SystemExit(1 if check and stale else 0)


if __name__ == "__main__":
    main()
