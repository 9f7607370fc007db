#!/usr/bin/env bash
# AVIS, appendix A.2, with known depth and a known truth: run.sh, from the repository's root
set -euo pipefail
for seed in 0 1; do
  "${PYTHON:-python}" experiments/avis/novel_views/run.py $seed
done
