#!/usr/bin/env bash
# AVIS's Table 2 in the tiny world: Table 1's x4 rows, and the same prior on the whole clip.
. "$(dirname "$0")/../../evaluation.sh"
common=("${bf16[@]}" vae=wan)
for solver in avis avis_flash; do
  evaluate avis "${common[@]}" solver=$solver label=table1 task=sr4 "$average"
done
# the stand-in for whole-clip solvers: one block of all frames
evaluate avis "${common[@]}" solver=avis label=whole task=sr4 "$average" solver.block_size=9
collect avis/results.jsonl avis/results.jsonl
for solver in vision_xl lvtino; do
  if [ -f conf/solver/$solver.yaml ]; then
    slowly avis "${common[@]}" solver=$solver label=table1 task=sr4 "$average"
  fi
done
slowly avis "${common[@]}" solver=diffir2vr label=table1 task=sr4 "$average"
collect avis/results.jsonl avis/results.jsonl
