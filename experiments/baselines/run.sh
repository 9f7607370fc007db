#!/usr/bin/env bash
# ADMM-TV, SVI, DPS, LVTINO and DiffIR2VR on clips of 17 frames of 64 x 64: experiments/baselines/run.sh
. "$(dirname "$0")/../evaluation.sh"
row() { slowly baselines 'clips.size=[64,64]' clips.frames=17 label=baselines "$@"; }
row solver=admm_tv,svi task=inpaint,deblur
row solver=admm_tv,svi task=sr4 "$average"
row solver=admm_tv,svi task=temporal_average,spatiotemporal_average
# LVTINO's five tasks are AVIS's (its Table 1)
row solver=lvtino task=inpaint,deblur,temporal_average,spatiotemporal_average
row solver=lvtino task=sr4 "$average"
# blind restorers of images do no more than these two
row solver=diffir2vr task=sr4 "$average"
row solver=diffir2vr task=denoise
row solver=admm_tv,svi task=denoise
# 20 of 1000 steps, and step sizes for them: docs/deviations/baselines.md
row solver=dps solver.steps=20 solver.step_size=20 task=inpaint
row solver=dps solver.steps=20 solver.step_size=5 task=deblur
row solver=dps solver.steps=20 solver.step_size=20 task=sr4 "$average"
collect baselines/results.jsonl baselines/results.jsonl
