#!/usr/bin/env bash
# AVIS's Figure 3 in the tiny world: later blocks from pure noise, and from the initialisation.
. "$(dirname "$0")/../../evaluation.sh"
common=("${bf16[@]}" vae=wan)
label='t0_${solver.t0}_K_${solver.K}_cache_${solver.use_cache}'
flash() { evaluate avis "${common[@]}" solver=avis_flash task=inpaint "$@"; }
flash label="$label" solver.t0=0.1
flash label=from_noise solver.later_t0=1.0
collect avis/results.jsonl avis/results.jsonl
