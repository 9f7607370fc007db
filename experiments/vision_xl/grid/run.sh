#!/usr/bin/env bash
# Every solver's frame and x-t slice, a picture a task: experiments/vision_xl/grid/run.sh [VIDEO,...]
# A held-out synthetic clip of 17 frames of 128 x 128, into this folder. Videos of your own: in outputs/.../grid/pictures only.
#   SOLVERS   the columns (all): admm_tv svi dps vision_xl diffir2vr lvtino avis student
# SVI and DPS take fewer steps than in their tables: nine patches a frame here. Tasks look back in time, so that AVIS can stream.
REAL_CLIPS=${1:-}
. "$(dirname "$0")/../../evaluation.sh"
count=1
SOLVERS=${SOLVERS:-admm_tv svi dps vision_xl diffir2vr lvtino avis student}
trained=inpaint,deblur,sr4
five=$trained,temporal_average,spatiotemporal_average
nine=$five,inpaint_plus,deblur_plus,sr_plus,denoise

# column SOLVER TASKS ARGUMENT ...
column() {
  local solver=$1 tasks=$2
  shift 2
  if [[ " $SOLVERS " == *" $solver "* ]]; then
    evaluate grid label=grid clips.frames=17 clips.videos=1 "solver=$solver" "task=$tasks" "$@"
  fi
}

column admm_tv "$nine"
column svi "$nine" solver.steps=10
column dps inpaint,sr4 solver.steps=10 solver.step_size=30
column dps deblur solver.steps=10 solver.step_size=10
column vision_xl "$nine"
column diffir2vr sr4,denoise
column lvtino "$five"
column avis "$nine" vae=wan
column student "$trained" vae=lean
"$python" experiments/vision_xl/grid/draw.py "$outputs/grid" experiments/vision_xl/grid
if [ -n "$REAL_CLIPS" ]; then
  "$python" experiments/vision_xl/grid/draw.py "$outputs/grid" "$outputs/grid/pictures" --clips real
fi
