#!/usr/bin/env bash
# ADMM-TV, SVI and DPS on held-out synthetic clips, 17 frames of 64 x 64: experiments/baselines/run.sh
set -euo pipefail
common=('clips.size=[64,64]' clips.frames=17 clips.count=4 clips.pictures=1 output=outputs/baselines label=baselines)
tasks=task=inpaint,deblur,sr4,temporal_average,spatiotemporal_average
python -m lvis.evaluate -m "${common[@]}" $tasks solver=admm_tv,svi
python -m lvis.evaluate -m "${common[@]}" task=inpaint solver=dps solver.steps=100 solver.step_size=0.5
python -m lvis.evaluate -m "${common[@]}" task=deblur,sr4 solver=dps solver.steps=100
