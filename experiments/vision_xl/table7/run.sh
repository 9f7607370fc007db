#!/usr/bin/env bash
# VISION-XL's Table 7 in the tiny world: the low-pass filter's lambda.
. "$(dirname "$0")/../../evaluation.sh"
common=('clips.size=[64,64]' clips.frames=17)
needs vision_xl
xl() { slowly vision_xl "${common[@]}" solver=vision_xl "$@" task=sr_plus "$circular"; }
xl label=default
xl label=lpf_none solver.lpf_lambda=null
xl 'label=lpf_${solver.lpf_lambda}' solver.lpf_lambda=1,1.4142,2.8284
collect vision_xl/results.jsonl vision_xl/results.jsonl
