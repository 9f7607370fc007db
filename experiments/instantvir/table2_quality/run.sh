#!/usr/bin/env bash
# InstantViR's table of PSNR, SSIM and LPIPS in the tiny world; table1_fvd_fps shares its rows.
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
