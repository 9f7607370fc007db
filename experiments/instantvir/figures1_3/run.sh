#!/usr/bin/env bash
# The supplement's Figures 1 to 3 in the tiny world: one synthetic clip, every method, its frames side by side.
REAL_CLIPS=
. "$(dirname "$0")/../../evaluation.sh"
count=1
tasks=task=inpaint,deblur,sr4
common=("${bf16[@]}" label=figures seed=4 clips.frames=21 "clips.size=[96,96]" clips.videos=1)
for vae in lean wan; do
  evaluate figures "${common[@]}" solver=student vae=$vae "$tasks"
done
evaluate figures "${common[@]}" solver=vision_xl "$tasks"
evaluate figures "${common[@]}" solver=svi "$tasks"
evaluate figures "${common[@]}" solver=dps solver.steps="${DPS_STEPS:-10}" solver.step_size=5 "$tasks"
collect figures/results.jsonl instantvir/figures1_3/results.jsonl
"$python" experiments/figures.py sequences "$outputs/figures" experiments/instantvir/figures1_3
