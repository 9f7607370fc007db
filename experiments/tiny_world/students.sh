#!/usr/bin/env bash
# The six bundled students: experiments/tiny_world/students.sh [vae ...]; each run resumes if it was stopped.
set -euo pipefail
for vae in "${@:-lean wan}"; do
  for task in inpaint deblur sr4; do
    python -m lvis.train task="$task" vae="$vae" trainer.threads=1
  done
done
