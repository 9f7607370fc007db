#!/usr/bin/env bash
# AVIS's Table 1 in the tiny world; rows of experiments/avis/results.jsonl.
. "$(dirname "$0")/../../evaluation.sh"
common=("${bf16[@]}" vae=wan)
for solver in avis avis_flash; do
  evaluate avis "${common[@]}" solver=$solver label=table1 task=inpaint,deblur,temporal_average,spatiotemporal_average
  evaluate avis "${common[@]}" solver=$solver label=table1 task=sr4 "$average"
done
collect avis/results.jsonl avis/results.jsonl
# solvers with an image prior: fewer clips
for solver in vision_xl lvtino; do
  if [ -f conf/solver/$solver.yaml ]; then
    slowly avis "${common[@]}" solver=$solver label=table1 task=inpaint,deblur,temporal_average,spatiotemporal_average
    slowly avis "${common[@]}" solver=$solver label=table1 task=sr4 "$average"
  fi
done
slowly avis "${common[@]}" solver=diffir2vr label=table1 task=sr4 "$average"
collect avis/results.jsonl avis/results.jsonl
