"""Imports run one way: docs/architecture.md, "The tree"."""

import ast
from pathlib import Path

import pytest

LVIS = Path(__file__).resolve().parents[1] / "lvis"
# what each room may import of the others, beside cli, kernels and the single files of the top level
PARTS = {
    "cli": set(),
    "kernels": set(),
    "operators": set(),
    "vae": set(),
    "backbone": set(),
    "weights": {"backbone", "vae"},
    "data": set(),
    "metrics": {"weights"},
    "solvers": {"operators", "vae", "backbone", "weights"},
    "distill": {"operators", "vae", "backbone", "weights", "solvers", "data", "metrics"},
}


def rooms_of(path: Path) -> set[str]:
    """The rooms that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    parts = [name.split(".") for name in names if name.startswith("lvis.")]
    return {name[1] for name in parts if (LVIS / name[1]).is_dir()}


@pytest.mark.parametrize("room", PARTS)
def test_a_part_imports_no_command_and_nothing_above_it(room):
    allowed = PARTS[room] | {room, "cli", "kernels"}
    found = {path.name: rooms_of(path) - allowed for path in (LVIS / room).rglob("*.py")}
    assert {name: rooms for name, rooms in found.items() if rooms} == {}
