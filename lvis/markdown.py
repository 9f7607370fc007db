"""Tables as Markdown."""

from collections.abc import Iterable, Sequence


def markdown_table(head: Sequence[str], lines: Iterable[Sequence[str]], right: bool = False) -> str:
    """The table, without a newline at its end; `right` aligns all columns but the first to the right."""
    rule = ["---:" if right and column else "---" for column in range(len(head))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *lines))
