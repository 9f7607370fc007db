#!/usr/bin/env bash
# VISION-XL's Table 4 in the tiny world: seconds a clip.
. "$(dirname "$0")/../../evaluation.sh"
REAL_CLIPS=   # of another size: not comparable with these
common=("clips.size=[64,64]" clips.frames=17)
slowly baselines "${common[@]}" label=baselines task=sr_plus solver=svi
collect baselines/results.jsonl baselines/results.jsonl
needs vision_xl
slowly vision_xl "${common[@]}" solver=vision_xl task=sr_plus label=default
collect vision_xl/results.jsonl vision_xl/results.jsonl
