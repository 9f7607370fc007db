"""Scores of solvers on clips whose clean version is known."""
