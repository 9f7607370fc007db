#!/usr/bin/env bash
# ADMM-TV, SVI and DPS on held-out synthetic clips, 17 frames of 64 x 64: experiments/baselines/run.sh
# DPS takes one task only: 84 s a clip. The others: experiments/baselines/run.sh dps
. "$(dirname "$0")/../evaluation.sh"
REAL_CLIPS=   # of another size: not comparable with these
common=('clips.size=[64,64]' clips.frames=17 label=baselines)
tasks=task=inpaint,deblur,sr4,temporal_average,spatiotemporal_average
slowly baselines "${common[@]}" "$tasks" solver=admm_tv,svi
slowly baselines "${common[@]}" task=inpaint solver=dps solver.steps=100 solver.step_size=0.5
if [ "${1:-}" = dps ]; then slowly baselines "${common[@]}" task=deblur,sr4 solver=dps solver.steps=100; fi
collect baselines/results.jsonl baselines/results.jsonl
