#!/usr/bin/env bash
# AVIS's Figure 5: a warped video and its holes.
. "$(dirname "$0")/../../evaluation.sh"
if [ ! -f experiments/avis/novel_view.py ]; then
  echo "skipped: experiments/avis has no novel_view.py"
  exit 0
fi
once "$python" experiments/avis/novel_view.py --output "$outputs/avis/novel_view.jsonl"
collect avis/novel_view.jsonl avis/figure5/results.jsonl
