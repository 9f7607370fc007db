"""A table or figure of a paper beside ours: rows chosen from results files, claims tested, one Markdown page."""

from paper_tables.config import Claim, Column, Experiment, Group, Line, load_experiment
from paper_tables.page import page
from paper_tables.selection import Selection

__all__ = [
    "Claim", "Column", "Experiment", "Group", "Line", "Selection", "load_experiment", "page",
]  # fmt: skip
