#!/usr/bin/env bash
# VISION-XL's Table 6 in the tiny world: conjugate gradient steps.
. "$(dirname "$0")/../../evaluation.sh"
common=('clips.size=[64,64]' clips.frames=17)
needs vision_xl
xl() { slowly vision_xl "${common[@]}" solver=vision_xl "$@" task=sr_plus "$circular"; }
xl label=default
xl 'label=cg_${solver.cg_steps}' solver.cg_steps=1,5,20
collect vision_xl/results.jsonl vision_xl/results.jsonl
