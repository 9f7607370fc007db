"""One folder of shards for the tests that only read it, a copy for those that damage it."""

import shutil

import pytest
from shard_writing import write_folder


@pytest.fixture(scope="session")
def shards(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("shards") / "data", embedding=True)


@pytest.fixture
def damaged(shards, tmp_path):
    """A copy that may be changed."""
    return shutil.copytree(shards, tmp_path / "copy")
