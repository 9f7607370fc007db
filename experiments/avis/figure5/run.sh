#!/usr/bin/env bash
# AVIS's Figure 5: two synthetic scenes from two other cameras, against the true views.
. "$(dirname "$0")/../../evaluation.sh"
once experiments/avis/novel_views/run.sh
"$python" experiments/avis/figure5/rows.py
