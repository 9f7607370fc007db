#!/usr/bin/env bash
# AVIS's Table 4 in the tiny world: LVTINO and AVIS on x4.
. "$(dirname "$0")/../../evaluation.sh"
common=("${bf16[@]}" vae=wan)
evaluate avis "${common[@]}" solver=avis label=table1 task=sr4 "$average"
collect avis/results.jsonl avis/results.jsonl
needs lvtino
slowly avis "${common[@]}" solver=lvtino label=table1 task=sr4 "$average"
collect avis/results.jsonl avis/results.jsonl
