"""The seed and the number of cases, and the table that they fill."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from children import Table


@pytest.fixture
def cases(request) -> int:
    """How many, of the default that a test gives by `@pytest.mark.cases(N)`."""
    marked = request.node.get_closest_marker("cases")
    return request.config.getoption("--fuzz-count") or marked.args[0]


@pytest.fixture
def table(request) -> Iterator[Table]:
    """Filled by the test; its defects fail it."""
    torch.set_num_threads(1)
    seed = request.config.getoption("--fuzz-seed")
    found = Table(random.randrange(2**32) if seed is None else seed)
    yield found
    folder = request.config.getoption("--fuzz-table")
    if folder:
        found.write(Path(folder), request.node.name.removeprefix("test_"))
    print(f"\nseed {found.seed}\n{found.markdown()}")
    assert not found.defects, "\n\n".join(found.defects[:5])
