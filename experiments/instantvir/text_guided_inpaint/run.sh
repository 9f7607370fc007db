#!/usr/bin/env bash
# Text-guided inpainting in the tiny world, beside the supplement's Figure 4: one measurement, three prompts.
. "$(dirname "$0")/../../evaluation.sh"
once "$python" experiments/instantvir/text_guidance.py --prompt "" --prompt "a red disk moves left" --prompt "a blue square moves right" \
  task=inpaint vae=wan "${bf16[@]}" clips.count=4 output="$outputs/text_guided_inpaint"
collect text_guided_inpaint/text_guidance.jsonl instantvir/text_guided_inpaint/results.jsonl
