#!/usr/bin/env bash
# frames.png of experiments/avis/README.md: middle frames of the third held-out clip
. "$(dirname "$0")/../evaluation.sh"
show() {
  local label=$1
  shift
  once "$python" -m lvis.evaluate output="$outputs/frames" clips.count=3 clips.pictures=3 "${bf16[@]}" vae=wan label="avis_$label" "$@"
  pictures+=("$outputs"/frames/pictures/avis_"${label}"_*_wan_synthetic-2.png)
}
pictures=()
show 1_inpaint_flash solver=avis_flash task=inpaint
show 2_inpaint_gamma_100 solver=avis solver.gamma=100 task=inpaint
show 3_deblur_flash solver=avis_flash task=deblur
show 4_deblur_gamma_100 solver=avis solver.gamma=100 task=deblur
show 5_temporal_gamma_100 solver=avis solver.gamma=100 task=temporal_average
show 6_inpaint_flash_t0_0.5 solver=avis_flash solver.t0=0.5 task=inpaint
show 7_inpaint_from_noise solver=avis_flash solver.later_t0=1.0 task=inpaint
"$python" experiments/stack.py experiments/avis/frames.png "${pictures[@]}"
