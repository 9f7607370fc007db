#!/usr/bin/env bash
# AVIS's Table 3 in the tiny world: start time, steps and propagation of AVIS Flash.
. "$(dirname "$0")/../../evaluation.sh"
common=("${bf16[@]}" vae=wan)
label='t0_${solver.t0}_K_${solver.K}_cache_${solver.use_cache}'
flash() { evaluate avis "${common[@]}" solver=avis_flash task=inpaint "$@"; }
flash label="$label" solver.t0=0.1,0.2,0.5
flash label="$label" solver.K=1,4
flash label="$label" solver.use_cache=false
collect avis/results.jsonl avis/results.jsonl
