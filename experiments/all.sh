#!/usr/bin/env bash
# Every table and figure, then all READMEs: experiments/all.sh [FOLDER ...], as in experiments/all.sh experiments/avis/*/
# One that fails is named at the end and does not stop the others. Environment: experiments/evaluation.sh
set -uo pipefail
cd "$(dirname "$0")/.."
if [ $# -gt 0 ]; then folders=("$@"); else folders=(experiments/{tiny_world,baselines,overview,prox,instantvir/*,avis/*,vision_xl/*}/); fi
failed=()
for folder in "${folders[@]}"; do
  script=${folder%/}/run.sh
  if [ ! -f "$script" ]; then continue; fi
  echo "== $script"
  "$script" || failed+=("$script")
done
"${PYTHON:-python}" experiments/render.py || failed+=(experiments/render.py)
if [ ${#failed[@]} -gt 0 ]; then
  echo "failed: ${failed[*]}" >&2
  exit 1
fi
