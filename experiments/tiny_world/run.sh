#!/usr/bin/env bash
# The README's table: every bundled student on every task. REAL_CLIPS=A.mp4,B.mp4 experiments/tiny_world/run.sh
. "$(dirname "$0")/../evaluation.sh"
for vae in lean wan; do
  evaluate tiny_world "${bf16[@]}" solver=student vae=$vae task=inpaint,deblur,sr4 label=default
done
collect tiny_world/results.jsonl tiny_world/results.jsonl
