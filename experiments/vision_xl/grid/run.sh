#!/usr/bin/env bash
# Every solver's frame and x-t slice, one picture per task: experiments/vision_xl/grid/run.sh
# The first held-out synthetic clip, 21 frames of 128 x 128; AVIS's five tasks are from the videos of ../../overview, run it first.
#   SOLVERS   the columns of the other four tasks (all): admm_tv svi vision_xl diffir2vr avis
# SVI takes fewer steps than in its tables: nine patches per frame here. Tasks look back in time, so that AVIS can stream.
REAL_CLIPS=
. "$(dirname "$0")/../../evaluation.sh"
count=1
SOLVERS=${SOLVERS:-admm_tv svi vision_xl diffir2vr avis}
four=inpaint_plus,deblur_plus,sr_plus,denoise

# column SOLVER TASKS ARGUMENT ...
column() {
  local solver=$1 tasks=$2
  shift 2
  if [[ " $SOLVERS " == *" $solver "* ]]; then
    evaluate grid "${bf16[@]}" label=grid clips.frames=21 clips.videos=1 "solver=$solver" "task=$tasks" "$@"
  fi
}

column admm_tv "$four"
column svi "$four" solver.steps=10
column vision_xl "$four"
column diffir2vr denoise
column avis "$four" vae=wan
"$python" experiments/vision_xl/grid/draw.py "$outputs/grid" experiments/vision_xl/grid
if [ -d "$outputs/overview/videos" ]; then
  "$python" experiments/vision_xl/grid/draw.py "$outputs/overview" experiments/vision_xl/grid
fi
