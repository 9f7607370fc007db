# Sourced by every run.sh. Results go to outputs/experiments/<digest of the bundled weights>/, so that retrained weights begin
# afresh and an interrupted run goes on; `collect` copies them beside the tables. Environment:
#   PYTHON        the interpreter (python)
#   REAL_CLIPS    videos, separated by commas: every evaluation on them too, as "real" clips
#   WEIGHTS_DIGEST  the digest, where it is known
#   COUNT         synthetic clips (8; of the students 32);  SLOW_COUNT  clips of either kind of solvers that take minutes per clip (4; 0: none)
# shellcheck shell=bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python}
weights=${WEIGHTS_DIGEST:-$(find lvis/weights/bundled -type f ! -name '*.md' | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -c1-12)}   # the model card does not count
export WEIGHTS_DIGEST=$weights   # of scripts that this one starts
outputs=${EXPERIMENTS_OUTPUT:-outputs/experiments/$weights}
bf16=(model.teacher_vae.encode_dtype=bfloat16 model.teacher_vae.decode_dtype=bfloat16)
bf16+=(model.vaes.lean.encode_dtype=bfloat16 model.vaes.lean.decode_dtype=bfloat16)
average=task.operator.filter=average   # AVIS's and VISION-XL's x4 pools; conf/task/sr4.yaml has InstantViR's cubic
circular=task.operator.inner.border=circular   # VISION-XL's mean of 7 frames; conf/task/*_plus.yaml look back, to stream

real_clips=${REAL_CLIPS:-}

# once COMMAND ...: not again where the same command has ended well for these weights
once() {
  local stamp
  stamp=$outputs/done/$(printf '%s\0' "$@" | sha256sum | cut -c1-16)
  if [ -e "$stamp" ]; then return; fi
  echo "+ $*"
  "$@"
  mkdir -p "${stamp%/*}"
  touch "$stamp"
}

# evaluate FOLDER ARGUMENT ...: lvis.evaluate into outputs/.../FOLDER, on the synthetic clips and the real ones given
evaluate() {
  local folder=$1 number=${count:-${COUNT:-8}}
  shift
  once "$python" -m lvis.evaluate -m output="$outputs/$folder" clips.pictures=0 clips.count="$number" "$@"
  if [ -n "${REAL_CLIPS:-}" ]; then
    once "$python" -m lvis.evaluate -m output="$outputs/$folder" clips.pictures=0 clips.name=real "clips.source=[$REAL_CLIPS]" "$@"
  fi
}

# slowly FOLDER ARGUMENT ...: the same on fewer clips of either kind
slowly() {
  local count=${SLOW_COUNT:-4}
  local REAL_CLIPS
  REAL_CLIPS=$(cut -d, -f"1-$((count > 0 ? count : 1))" <<<"$real_clips")
  if [ "$count" -gt 0 ]; then evaluate "$@"; fi
}

# students: the bundled ones on InstantViR's tasks, rows of several tables; more clips than others, because
# what a student adds to deblurring and x4 is small beside the differences between clips
students() {
  local vae count=${COUNT:-32}
  for vae in lean wan; do
    evaluate tiny_world "${bf16[@]}" solver=student vae=$vae task=inpaint,deblur,sr4 label=default
  done
  collect tiny_world/results.jsonl tiny_world/results.jsonl
}

# collect SOURCE TARGET: rows of outputs/.../SOURCE into experiments/TARGET, in place of those of other weights
collect() {
  "$python" experiments/collect.py "$outputs/$1" "experiments/$2" "$weights"
}

# needs SOLVER: ends the script, well, where this checkout has no such solver
needs() {
  if [ ! -f "conf/solver/$1.yaml" ]; then
    echo "skipped: conf/solver has no $1.yaml"
    exit 0
  fi
}
