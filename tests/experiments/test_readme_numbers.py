"""Every number in the tables that render.py writes whole is in a results file, or in the paper's numbers."""

import importlib.util
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from scipy.stats import t as student_t

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENTS = ROOT / "experiments"
FOLDERS = sorted(path.parent for path in EXPERIMENTS.glob("**/config.yaml"))
NAMES = [folder.relative_to(EXPERIMENTS).as_posix() for folder in FOLDERS]
PAPERS = {
    "instantvir": [
        "contributions", "figures1_3", "kernel_mismatch", "table1_fvd_fps", "table2_quality", "text_guided",
        "text_guided_inpaint",
    ],
    "avis": ["figure3", "figure4", "figure5", "figures6_10", "settings", "table1", "table2", "table3", "table4"],
    "vision_xl": ["table2", "table3", "table4", "table5", "table6", "table7"],
}  # fmt: skip
UNIT = ("clips", "task", "clip", "seed")


def load(path: Path):
    spec = importlib.util.spec_from_file_location(f"experiments_{path.stem}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rendered() -> dict[Path, str]:
    return load(EXPERIMENTS / "render.py").rendered()


def tables(text: str) -> list[tuple[str, list[str], list[list[str]]]]:
    """(the bold line or heading before it, head, lines) of every Markdown table."""
    found, title = [], ""
    lines = text.splitlines()
    for place, line in enumerate(lines):
        if line.startswith(("**", "## ")):
            title = line.strip("*# ")
        if line.startswith("|") and re.fullmatch(r"[| :-]+", (lines + [""])[place + 1]):
            body = []
            for row in lines[place + 2 :]:
                if not row.startswith("|"):
                    break
                body.append(cells(row))
            found.append((title, cells(line), body))
    return found


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


class Source:
    """A config.yaml and its results, read here and by nothing of paper_tables."""

    def __init__(self, folder: Path) -> None:
        self.config = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))
        self.text = (folder / "config.yaml").read_text(encoding="utf-8")
        files = [folder / name for name in self.config["results"]]
        files = [f for path in files for f in (path, path.with_name("sets.jsonl")) if f.is_file()]
        self.rows = [json.loads(line) for path in files for line in path.open(encoding="utf-8")]
        self.groups = self.config.get("groups") or [{"id": "all", "name": ""}]

    def titles(self) -> dict[str, tuple[dict, str]]:
        """Title of a table of results -> group, set of clips."""
        found = {}
        for clips in self.config.get("clips") or [""]:
            for group in self.groups:
                parts = [group.get("name", ""), f"{clips} clips" if clips else ""]
                found[", ".join(part for part in parts if part)] = (group, clips)
        return found

    def heading(self, name: str) -> str:
        column = self.config["columns"][name]
        unit = f" ({column['unit']})" if column.get("unit") else ""
        return column["title"] + unit + (" ↑" if column["better"] == "higher" else " ↓")

    def values(self, group: dict, clips: str, row: dict, column: str) -> dict[tuple, float]:
        selects = (self.config.get("select", {}), group.get("select", {}), row["select"])
        wanted = [pair for select in selects for pair in select.items()]
        wanted += [("clips", clips)] if clips else []
        keys = self.config["columns"][column]["from"]
        found = {}
        for line in self.rows:
            if all(line.get(k) in (v if isinstance(v, list) else [v]) for k, v in wanted):
                for key in [keys] if isinstance(keys, str) else keys:
                    value = line.get(key)
                    above, _, below = key.partition(" / ")
                    if below and line.get(above) and line.get(below):
                        value = line[above] / line[below]
                    if value is not None:
                        found[tuple(map(str, (line.get(k) for k in UNIT)))] = value
                        break
        return found


def shown(values: list[float], digits: int, sign: str = "") -> str:
    mean = f"{np.mean(values):{sign}.{digits}f}"
    if len(values) < 2:
        return mean
    half = student_t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return f"{mean} ± {half:.{digits}f}"


def test_the_tables_and_figures_of_the_three_papers_are_there():
    of_papers = [f"{paper}/{name}" for paper in PAPERS for name in PAPERS[paper]]
    assert sorted(NAMES) == sorted([*of_papers, "overview"])


@pytest.mark.parametrize("folder", FOLDERS, ids=NAMES)
def test_every_folder_has_a_config_a_command_and_a_readme(folder):
    assert (folder / "README.md").is_file()
    assert os.access(folder / "run.sh", os.X_OK)
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert f"{folder.relative_to(ROOT).as_posix()}/run.sh" in text


def test_what_is_committed_is_what_the_results_say(rendered):
    stale = [path for path, text in rendered.items() if path.read_text(encoding="utf-8") != text]
    assert not stale, "run python experiments/render.py"
    assert {folder / "README.md" for folder in FOLDERS} <= set(rendered)


@pytest.mark.parametrize("folder", FOLDERS, ids=NAMES)
def test_every_number_of_a_table_has_its_source(folder):
    source = Source(folder)
    titles = source.titles()
    for title, head, lines in tables((folder / "README.md").read_text(encoding="utf-8")):
        if head[0] == "claim":
            continue
        if source.config.get("together"):
            clips = title.removesuffix(" clips")
            for group in source.groups:
                of_group = [line for name, *line in lines if name == group["name"]]
                check_results(source, group, clips, head[1:], of_group)
        elif title in titles or (head[:2] == ["", "n"] and "" in titles):
            check_results(source, *titles.get(title, titles.get("", ({}, ""))), head, lines)
        else:
            assert title.startswith("The paper's")
            for number in re.findall(r"\d+\.\d+", " ".join(cell for row in lines for cell in row)):
                assert number in source.text


def check_results(source: Source, group: dict, clips: str, head: list[str], lines: list) -> None:
    rows = {row["name"]: row for row in source.config["rows"]}
    numbers = (source.config.get("numbers") or {}).get(group["id"], {})
    wanted = group.get("columns") or list(source.config["columns"])
    by_heading = {source.heading(name): name for name in wanted}
    assert lines
    for name, count, *rest in lines:
        row = rows[name]
        if count == "-" and source.config.get("together"):
            told = row.get("absent", {}).get(group["id"]) or row.get("note") or "not yet run"
            assert rest == [told, *["-"] * (len(rest) - 1)]
            continue
        most = 0
        theirs = numbers.get(row["id"], {})
        theirs = dict(zip(wanted, theirs, strict=True)) if isinstance(theirs, list) else theirs
        column = ""
        for heading, cell in zip(head[2:], rest, strict=True):
            if heading == "paper":
                assert cell == str(theirs.get(column) or "-")  # of the column before it
                continue
            column = by_heading[heading]
            digits = source.config["columns"][column].get("digits", 2)
            known = row.get("select") is not None
            values = source.values(group, clips, row, column) if known else {}
            most = max(most, len(values))
            assert cell == (shown(list(values.values()), digits) if values else "-")
        assert count == (str(most) if most else "-")


@pytest.mark.parametrize("folder", FOLDERS, ids=NAMES)
def test_every_difference_of_a_verdict_is_paired_and_judged_right(folder):
    source = Source(folder)
    claims = {chr(ord("A") + n): claim for n, claim in enumerate(source.config.get("claims") or [])}
    rows = {row["id"]: row for row in source.config["rows"]}
    for _, head, lines in tables((folder / "README.md").read_text(encoding="utf-8")):
        if head[0] != "claim":
            continue
        for letter, on, ours, _, verdict in lines:
            claim = claims[letter]
            if ours == "-":
                # both rows were run, and the column is unmeasured
                told = ("not yet run", "cannot be seen", claim.get("outcome"))
                assert verdict.strip("*") in told
                continue
            column = source.config["columns"][claim["column"]]
            unit = f" {column['unit']}" if column.get("unit") else ""
            matching = [
                (group, clips)
                for group in source.groups
                for clips in source.config.get("clips") or [""]
                if on == (", ".join(p for p in (group.get("name", ""), clips) if p) or "-")
            ]
            assert len(matching) == 1
            first, second = (
                source.values(*matching[0], rows[claim[key]], claim["column"])
                for key in ("ahead", "behind")
            )
            gains = [first[unit_] - second[unit_] for unit_ in first if unit_ in second]
            assert ours == shown(gains, column.get("digits", 2), "+") + unit
            half = student_t.ppf(0.975, len(gains) - 1) * np.std(gains, ddof=1) / len(gains) ** 0.5
            good = np.mean(gains) * (1 if column["better"] == "higher" else -1)
            judged = (
                "holds" if good > half else "does not hold" if good < -half else "cannot be seen"
            )
            assert verdict == f"**{judged}**"


@pytest.mark.parametrize("folder", FOLDERS, ids=NAMES)
def test_a_reason_quotes_no_number_that_a_later_run_could_change(folder):
    config = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))
    for claim in config.get("claims") or []:
        for text in (claim.get("why") or {}).values():
            assert not re.search(r"\d+\.\d+|\d+ ?%", text), text


def leaves(tree) -> list[float]:
    """Every number in a JSON tree, and of a list of numbers its median, least and largest."""
    if isinstance(tree, dict):
        return [number for value in tree.values() for number in leaves(value)]
    if isinstance(tree, list) and tree and all(isinstance(v, int | float) for v in tree):
        return [float(np.median(tree)), min(tree), max(tree)]
    if isinstance(tree, list):
        return [number for value in tree for number in leaves(value)]
    return [tree] if isinstance(tree, int | float) and not isinstance(tree, bool) else []


def is_one_of(number: str, pool: list[float]) -> bool:
    digits = len(number.partition(".")[2])
    return any(f"{value:.{digits}f}" == number for value in pool)


def test_the_speed_tables_come_from_the_benchmarks_files():
    folder = EXPERIMENTS / "speed"
    files = [
        *sorted((folder / "tiny").glob("*.json")),
        *folder.glob("before_after*.json"),
        folder / "dial.json",
    ]
    # estimates that experiments/speed/roofline.py writes as they stand
    written = tables((folder / "roofline.md").read_text(encoding="utf-8"))
    estimates = [tuple(line) for _, _, lines in written for line in lines]
    assert estimates
    found = [number for file in files for number in leaves(json.loads(file.read_text()))]
    # as they are, milliseconds, MB, GFLOP
    pool = [number * scale for number in found for scale in (1, 1e3, 1e-6, 1e-9)]
    for _, _, lines in tables((folder / "README.md").read_text(encoding="utf-8")):
        for line in lines:
            if tuple(line) in estimates:
                continue
            _, *values = line
            for number in re.findall(r"\d+(?:\.\d+)?", " ".join(values)):
                assert is_one_of(number, pool), number


def test_what_the_tiny_world_s_parts_reached_comes_from_their_curves():
    folder = EXPERIMENTS / "tiny_world"
    pool = []
    for path in sorted((folder / "curves").glob("*_validation.csv")):
        last = path.read_text(encoding="utf-8").split()[-1]
        pool += [float(value) for value in last.split(",")]
    text = (folder / "README.md").read_text(encoding="utf-8")
    [lines] = [lines for _, head, lines in tables(text) if head[0] == "part"]
    for _, _, result in lines:
        for number in re.findall(r"\d+\.\d+", result):
            assert is_one_of(number, pool), number
