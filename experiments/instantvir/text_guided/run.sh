#!/usr/bin/env bash
# The supplement's Figure 4 in the tiny world: one measurement, three prompts.
. "$(dirname "$0")/../../evaluation.sh"
once "$python" experiments/instantvir/text_guidance.py --prompt "" --prompt "a red disk moves left" --prompt "a blue square moves right" \
  task=deblur vae=wan "${bf16[@]}" clips.count=4 output="$outputs/text_guided"
collect text_guided/text_guidance.jsonl instantvir/text_guided/results.jsonl
