"""The documentation site builds strictly, has every page, and its hook keeps links within docs/."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]


def hook():
    spec = importlib.util.spec_from_file_location("docs_links", ROOT / "tools/docs_links.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for path in (ROOT / "docs").rglob("*.md"):
        assert f": {path.relative_to(ROOT / 'docs').as_posix()}\n" in navigation + "\n"


def test_links_out_of_the_site_become_paths_of_the_repository():
    page = SimpleNamespace(file=SimpleNamespace(src_uri="deviations/avis.md"))
    text = "[here](../own_operator.md) and [there](../../experiments/README.md)"
    found = hook().on_page_markdown(text, page)
    assert found == "[here](../own_operator.md) and there (`experiments/README.md`)"


@pytest.mark.slow
def test_it_builds_strictly(tmp_path):
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert 'id="lvis.Restorer.stream"' in (tmp_path / "api.html").read_text(encoding="utf-8")
