#!/usr/bin/env bash
# VISION-XL's Table 3 in the tiny world: its six tasks; rows of other solvers are ../../baselines'.
. "$(dirname "$0")/../../evaluation.sh"
common=('clips.size=[64,64]' clips.frames=17)
row() { slowly baselines "${common[@]}" label=baselines "$@"; }
# one at a time: Hydra composes what is not swept with the default task, which has no inner operator
plus="inpaint_plus deblur_plus sr_plus"
row solver=admm_tv,svi task=inpaint,deblur
row solver=admm_tv,svi task=sr4 "$average"
for task in $plus; do row solver=admm_tv,svi task=$task "$circular"; done
row solver=diffir2vr task=sr4 "$average"
row solver=lvtino task=inpaint,deblur,temporal_average,spatiotemporal_average
row solver=lvtino task=sr4 "$average"
row solver=dps solver.steps=20 solver.step_size=20 task=inpaint
row solver=dps solver.steps=20 solver.step_size=5 task=deblur
row solver=dps solver.steps=20 solver.step_size=20 task=sr4 "$average"
collect baselines/results.jsonl baselines/results.jsonl
needs vision_xl
xl() { slowly vision_xl "${common[@]}" solver=vision_xl label=default "$@"; }
xl task=inpaint,deblur
xl task=sr4 "$average"
for task in $plus; do xl task=$task "$circular"; done
collect vision_xl/results.jsonl vision_xl/results.jsonl
