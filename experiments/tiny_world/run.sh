#!/usr/bin/env bash
# The README's table: every bundled student on every task. REAL_CLIPS=A.mp4,B.mp4 experiments/tiny_world/run.sh
. "$(dirname "$0")/../evaluation.sh"
students
# frames.png: the third held-out clip, lean above, wan below
pictures=(clips.count=3 clips.pictures=3 label=frames)
once "$python" -m lvis.evaluate -m output="$outputs/frames" "${pictures[@]}" "${bf16[@]}" solver=student vae=lean,wan task=inpaint,deblur,sr4
"$python" experiments/stack.py experiments/tiny_world/frames.png "$outputs"/frames/pictures/frames_{inpaint,deblur,sr4}_{lean,wan}_synthetic-2.png
