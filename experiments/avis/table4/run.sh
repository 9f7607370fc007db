#!/usr/bin/env bash
# AVIS's Table 4 in the tiny world: AVIS on x4, and LVTINO with AVIS's prior and with a bidirectional one.
. "$(dirname "$0")/../../evaluation.sh"
common=("${bf16[@]}" vae=wan)
evaluate avis "${common[@]}" solver=avis label=table1 task=sr4 "$average"
collect avis/results.jsonl avis/results.jsonl
needs lvtino
slowly avis "${common[@]}" solver=lvtino label=table1 task=sr4 "$average"
slowly avis "${common[@]}" solver=lvtino label=lvtino_bidirectional task=sr4 "$average" \
  solver.weights=bundled:tiny/teacher solver.attention=bidirectional
collect avis/results.jsonl avis/results.jsonl
