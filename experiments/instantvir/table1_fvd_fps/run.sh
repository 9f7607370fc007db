#!/usr/bin/env bash
# InstantViR's table of FVD and frames per second in the tiny world; table2_quality shares its rows.
. "$(dirname "$0")/../../evaluation.sh"
students
# image priors: slower, on fewer clips
for solver in svi vision_xl; do
  if [ -f conf/solver/$solver.yaml ]; then
    slowly instantvir "${bf16[@]}" solver=$solver task=inpaint,deblur,sr4 label=default
  fi
done
slowly instantvir "${bf16[@]}" solver=diffir2vr task=sr4 label=default
collect instantvir/results.jsonl instantvir/results.jsonl
