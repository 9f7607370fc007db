#!/usr/bin/env bash
# Builds the wheel and the sdist, installs the wheel in a clean environment, and restores a clip from there.
# Usage: tools/release_check.sh [FOLDER]   (FOLDER/dist and FOLDER/venv; by default outputs/release)
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mkdir -p "${1:-$root/outputs/release}" && cd "${1:-$root/outputs/release}" && pwd)
python=${PYTHON:-$root/.venv/bin/python}

rm -rf "$work/dist" "$work/venv" "$work/away"
"$python" -m build --no-isolation --outdir "$work/dist" "$root"
"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --constraint "$root/constraints.txt" "$work"/dist/*.whl
mkdir "$work/away" && cd "$work/away"
"$work/venv/bin/python" - <<'PYTHON'
import torch

import lvis
from lvis.data.synthetic import synthetic_clip

assert "site-packages" in lvis.__file__, lvis.__file__
clip = synthetic_clip(0, 0, 9, (64, 64)).video[None]
restorer = lvis.Restorer.from_pretrained("tiny", task="deblur", device="cpu")
blurred = restorer.operator(clip)
errors = [float((video - clip).square().mean()) for video in (blurred, restorer(blurred))]
assert errors[1] < errors[0], errors
print(f"lvis {lvis.__version__} from the wheel: mean squared error {errors[0]:.4f} -> {errors[1]:.4f}")
PYTHON
"$work/venv/bin/lvis-restore" --help > help.txt
echo "release check passed; wheel and sdist are in $work/dist"
