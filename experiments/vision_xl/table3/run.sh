#!/usr/bin/env bash
# VISION-XL's Table 3 in the tiny world: six tasks, with ADMM-TV and SVI; rows without a network are shared with ../../baselines.
. "$(dirname "$0")/../../evaluation.sh"
REAL_CLIPS=   # of another size: not comparable with these
common=("clips.size=[64,64]" clips.frames=17)
six=task=inpaint,deblur,sr4,inpaint_plus,deblur_plus,sr_plus
slowly baselines "${common[@]}" label=baselines $six solver=admm_tv,svi
collect baselines/results.jsonl baselines/results.jsonl
needs vision_xl
slowly vision_xl "${common[@]}" solver=vision_xl $six label=default
collect vision_xl/results.jsonl vision_xl/results.jsonl
