#!/usr/bin/env bash
# Every solver on AVIS's five tasks, one after the other on this machine: experiments/overview/run.sh
# DPS_STEPS: of DPS (10; 100 of them take about 17 minutes per clip and task on one core)
. "$(dirname "$0")/../evaluation.sh"
REAL_CLIPS=   # two clips are an overview
common=("${bf16[@]}" clips.frames=21 label=overview clips.videos=1)   # the videos are for ../vision_xl/grid
tasks=task=inpaint,deblur,sr4,temporal_average,spatiotemporal_average
count=2
# of InstantViR's tasks only: AVIS's averages have no student
for vae in lean wan; do
  evaluate overview "${common[@]}" solver=student vae=$vae task=inpaint,deblur,sr4
done
for solver in pinv admm_tv avis avis_flash lvtino vision_xl; do
  evaluate overview "${common[@]}" "$tasks" solver=$solver
done
evaluate overview "${common[@]}" task=sr4 solver=diffir2vr   # an image restorer: no other of the five
# priors in pixel space, patch by patch
count=1
evaluate overview "${common[@]}" "$tasks" solver=svi
evaluate overview "${common[@]}" "$tasks" solver=dps solver.steps="${DPS_STEPS:-10}" solver.step_size=5
collect overview/results.jsonl overview/results.jsonl
"$python" experiments/overview/scatter.py
