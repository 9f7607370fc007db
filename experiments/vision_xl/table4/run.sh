#!/usr/bin/env bash
# VISION-XL's Table 4 in the tiny world: seconds, memory and passes of x4 super-resolution, rows of Table 3.
. "$(dirname "$0")/../../evaluation.sh"
common=('clips.size=[64,64]' clips.frames=17)
row() { slowly baselines "${common[@]}" label=baselines "$@"; }
row solver=admm_tv,svi task=sr4 "$average"
row solver=diffir2vr task=sr4 "$average"
row solver=lvtino task=sr4 "$average"
row solver=dps solver.steps=20 solver.step_size=20 task=sr4 "$average"
collect baselines/results.jsonl baselines/results.jsonl
needs vision_xl
slowly vision_xl "${common[@]}" solver=vision_xl label=default task=sr4 "$average"
collect vision_xl/results.jsonl vision_xl/results.jsonl
