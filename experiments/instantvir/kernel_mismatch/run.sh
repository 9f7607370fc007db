#!/usr/bin/env bash
# The supplement's parameter mismatch in the tiny world: the true kernel is 61 x 61 with sigma 3, and the solver assumes another.
. "$(dirname "$0")/../../evaluation.sh"
for told in 'size 59,61,63' 'sigma 2.7,2.9,3.1,3.3'; do
  read -r key values <<< "$told"
  evaluate kernel_mismatch "${bf16[@]}" solver=student vae=lean task=deblur "+assumed.$key=$values" "label=told_${key}_\${assumed.$key}"
done
collect kernel_mismatch/results.jsonl instantvir/kernel_mismatch/results.jsonl
