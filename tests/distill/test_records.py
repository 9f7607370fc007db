"""The journal of a run goes on where its checkpoint is, whatever became of the file."""

import pytest

from lvis.distill.records import Journal, read_journal


@pytest.mark.parametrize(
    "damage",
    [
        b"\xf5\x80\n",
        b'{"step": 2, "kind": "tr',
        b'{"step": "2", "kind": "train"}\n',
        b'{"step": 2}\n',
        b"[2]\n",
        b'{"step": 2, "kind": "train", "likelihood": [1]}\n',
        b"[" * 100_000 + b"\n",
    ],
)
def test_damaged_lines_and_those_after_the_checkpoint_are_taken_out(tmp_path, damage):
    journal = Journal(tmp_path / "metrics.jsonl")
    journal.begin(0, [])
    for step in (1, 2, 3):
        journal.add(step, "train", {"likelihood": float("nan") if step == 2 else 0.5})
    with journal.path.open("ab") as file:
        file.write(damage)
    again = Journal(journal.path)
    again.begin(2, [])
    again.add(3, "train", {"likelihood": 0.25})
    lines = [(line["step"], line["likelihood"]) for line in read_journal(journal.path)]
    assert lines == [(1, 0.5), (2, None), (3, 0.25)]
