#!/usr/bin/env bash
# AVIS's Figures 6 to 10 in the tiny world: one synthetic clip, four methods, a frame of each and a detail of it.
REAL_CLIPS=
. "$(dirname "$0")/../../evaluation.sh"
count=1
common=("${bf16[@]}" label=avis_figures vae=wan seed=4 clips.frames=21 "clips.size=[96,96]" clips.videos=1)
for solver in avis avis_flash lvtino vision_xl; do
  evaluate avis_figures "${common[@]}" solver=$solver task=temporal_average,spatiotemporal_average,inpaint,deblur
  evaluate avis_figures "${common[@]}" solver=$solver task=sr4 "$average"
done
collect avis_figures/results.jsonl avis/figures6_10/results.jsonl
"$python" experiments/figures.py details "$outputs/avis_figures" experiments/avis/figures6_10
