#!/usr/bin/env bash
# AVIS's Figure 4 in the tiny world: 957 frames through three solvers.
. "$(dirname "$0")/../../evaluation.sh"
once "$python" experiments/avis/long_video.py --output "$outputs/avis/long_video.jsonl"
collect avis/long_video.jsonl avis/figure4/results.jsonl
