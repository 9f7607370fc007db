#!/usr/bin/env bash
# AVIS's Tables 1 to 3 in the tiny world: run.sh [REAL_CLIP ...]. Rows go to outputs/avis/results.jsonl; what is there is not
# computed again. Then: python experiments/avis/tables.py
set -euo pipefail
common=(model.teacher_vae.encode_dtype=bfloat16 model.teacher_vae.decode_dtype=bfloat16 output=outputs/avis vae=wan)
average=task.operator.filter=average   # AVIS's x4 is average pooling; conf/task/sr4.yaml has InstantViR's cubic

evaluate() { # clips arguments ...
  local clips=$1; shift
  if [ "$clips" = real ]; then
    python -m lvis.evaluate -m "${common[@]}" clips.name=real clips.source="[$real]" clips.pictures=4 "$@"
  else
    python -m lvis.evaluate -m "${common[@]}" clips.count=8 "$@"
  fi
}

real=$(IFS=,; echo "$*")
for clips in synthetic ${real:+real}; do
  # Table 1
  for solver in avis avis_flash; do
    evaluate $clips solver=$solver label=table1 task=inpaint,deblur,temporal_average,spatiotemporal_average
    evaluate $clips solver=$solver label=table1 task=sr4 $average
  done
  # Table 2's stand-in for whole-clip solvers: the same prior, one block of all frames
  evaluate $clips solver=avis label=whole task=sr4 $average solver.block_size=9
  # Table 3, and Figure 3's middle row
  label='t0_${solver.t0}_K_${solver.K}_cache_${solver.use_cache}'
  evaluate $clips solver=avis_flash task=inpaint label="$label" solver.t0=0.1,0.2,0.5
  evaluate $clips solver=avis_flash task=inpaint label="$label" solver.K=1,4
  evaluate $clips solver=avis_flash task=inpaint label="$label" solver.use_cache=false
  evaluate $clips solver=avis_flash task=inpaint label=from_noise solver.later_t0=1.0
  # what the released code and the closed forms change
  evaluate $clips solver=avis label=init_pinv solver.init=pinv task=deblur,temporal_average
  evaluate $clips solver=avis label=gamma_100 solver.gamma=100 task=inpaint,deblur,temporal_average
  # the decoding and encoding of the correction without the correction
  evaluate $clips solver=avis label=round_trips solver.gamma=1e-9 task=inpaint,deblur
done
