#!/bin/sh
# The plans of this folder; about half a minute each on one CPU core, nothing is loaded but by the two checks.
set -e
cd "$(dirname "$0")/../.."
python=${PYTHON:-python}
# written elsewhere first: a plan notes whether the checkout differs from its commit
made=$(mktemp -d)
for vae in lean wan; do
    for strategy in fsdp ddp; do
        "$python" -m lvis.plan experiment=instantvir_${vae}_inpaint trainer=$strategy devices=8 gpu=a100 \
            output="$made/${vae}_inpaint_$strategy"
    done
    "$python" -m lvis.plan model=tiny task=inpaint vae=$vae trainer=cpu check=true output="$made/check_tiny_$vae"
done
for folder in "$made"/*; do
    mkdir -p "experiments/plan/$(basename "$folder")"
    cp "$folder"/* "experiments/plan/$(basename "$folder")/"
done
rm -r "$made"
PYTHONPATH=. "$python" experiments/plan/presets.py
