#!/bin/sh
# 480x832 at full size on one CUDA GPU, random weights. Not run yet: written where there is no GPU.
set -e
common="model=wan1_3b weights=random precision=bf16 device=cuda optimise.compile=max-autotune-no-cudagraphs"
for vae in lean wan; do
    python -m lvis.benchmark $common solver=student vae=$vae "$@"
done
# needs solver=avis_flash
python -m lvis.benchmark $common solver=avis_flash vae=wan "$@"
