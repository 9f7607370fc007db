#!/usr/bin/env bash
# The table of the README: evaluate.sh [REAL_CLIP ...]; rows go to outputs/evaluate, tables and pictures beside them.
set -euo pipefail
bf16="model.teacher_vae.encode_dtype=bfloat16 model.teacher_vae.decode_dtype=bfloat16"
bf16+=" model.vaes.lean.encode_dtype=bfloat16 model.vaes.lean.decode_dtype=bfloat16"
# shellcheck disable=SC2086
for vae in lean wan; do
  for task in inpaint deblur sr4; do
    python -m lvis.evaluate task=$task vae=$vae $bf16 clips.count=8
    if [ $# -gt 0 ]; then
      python -m lvis.evaluate task=$task vae=$vae $bf16 clips.name=real clips.source="[$(IFS=,; echo "$*")]" clips.pictures=4
    fi
  done
done
