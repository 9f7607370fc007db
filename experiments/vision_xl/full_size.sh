#!/usr/bin/env bash
# VISION-XL's Tables 3 to 7: experiments/vision_xl/full_size.sh [3 | 4 | 5 | 6 | 7] [overrides of lvis.evaluate]
# In the tiny world by default. With SDXL, on one GPU and the paper's sizes:
#   LANDSCAPE=[768,1280] VERTICAL=[1280,768] SQUARE=[1024,1024] experiments/vision_xl/full_size.sh 3 \
#     model=wan1_3b clips.name=davis clips.source=FOLDER clips.count=null precision=fp16 \
#     solver.vae_weights=hub:madebyollin/sdxl-vae-fp16-fix solver.vae_precision=fp16
# (the last three keys belong to vision_xl alone: give SOLVERS=vision_xl with them)
set -euo pipefail
table=${1:-all}
[ $# -gt 0 ] && shift
LANDSCAPE=${LANDSCAPE:-[96,160]} VERTICAL=${VERTICAL:-[160,96]} SQUARE=${SQUARE:-[128,128]}
SOLVERS=${SOLVERS:-admm_tv,svi,vision_xl}
common=(protocol=vision_xl clips.frames=25 clips.count=4 clips.pictures=1 output=outputs/vision_xl "$@")
circular=task.operator.inner.border=circular
evaluate() { python -m lvis.evaluate -m "${common[@]}" "$@"; }
wanted() { [ "$table" = all ] || [ "$table" = "$1" ]; }

if wanted 3; then
  for size in "$LANDSCAPE" "$VERTICAL" "$SQUARE"; do
    shape=(clips.size="$size" label="table3_${size//[^0-9]/x}" solver="$SOLVERS")
    evaluate "${shape[@]}" task=deblur,inpaint
    evaluate "${shape[@]}" task=sr4 task.operator.filter=average
    evaluate "${shape[@]}" task=deblur_plus,sr_plus,inpaint_plus "$circular"
  done
fi
# seconds and memory of one clip: frames_per_second and peak_memory_cuda; batch_size is the dial between them
if wanted 4; then
  evaluate task=sr4 task.operator.filter=average clips.size="$LANDSCAPE" clips.count=1 label=table4 solver="$SOLVERS"
  evaluate task=sr4 task.operator.filter=average clips.size="$LANDSCAPE" clips.count=1 solver=vision_xl \
    solver.batch_size=1,5,25 label='table4_batch_${solver.batch_size}'
fi
ablation=(task=sr_plus "$circular" clips.size="$LANDSCAPE" solver=vision_xl)
if wanted 5; then
  evaluate "${ablation[@]}" solver.initialisation=noise,shared_noise solver.tau=1 label='table5_${solver.initialisation}'
  evaluate "${ablation[@]}" solver.tau=0.15,0.3,0.45 label='table5_tau_${solver.tau}'
  # not in the paper: what its code does
  evaluate "${ablation[@]}" solver.inversion=first label=table5_first_frame
fi
if wanted 6; then
  evaluate "${ablation[@]}" solver.cg_steps=1,5,10,20 label='table6_l_${solver.cg_steps}'
fi
if wanted 7; then
  evaluate "${ablation[@]}" solver.lpf_lambda=null,1,1.4142,2,2.8284 label='table7_lambda_${solver.lpf_lambda}'
  evaluate "${ablation[@]}" solver.filter=released label=table7_released
fi
