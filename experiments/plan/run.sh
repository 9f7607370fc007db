#!/bin/sh
# The plans of this folder; about a minute each on one CPU core, nothing is loaded.
set -e
cd "$(dirname "$0")/../.."
for vae in lean wan; do
    for strategy in fsdp ddp; do
        python -m lvis.plan experiment=instantvir_${vae}_inpaint trainer=$strategy devices=8 gpu=a100 \
            output=experiments/plan/${vae}_inpaint_$strategy
    done
done
