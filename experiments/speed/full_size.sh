#!/bin/sh
# Everything about speed at 480x832 and full size on one CUDA GPU, random weights: run from the repository's root.
# Results (JSON with GPU, torch, commit and date; Markdown; logs) in experiments/speed/full_size/. A run whose result is
# there is not repeated, so an interrupted script goes on where it was. The most telling runs come first; no new one begins
# after BUDGET seconds, and none takes longer than LIMIT. Tried with the tiny model on a CPU only:
#
#     MODEL=tiny DEVICE=cpu PRECISION=fp32 BLOCKS=1 REPEATS=1 experiments/speed/full_size.sh
#
# Compute floor: 42 TFLOP per block with a window of 21 latent frames, 55 ms at 790 TFLOP/s (H200 class).
set -u
MODEL=${MODEL:-wan1_3b}
DEVICE=${DEVICE:-cuda}
PRECISION=${PRECISION:-bf16}
BLOCKS=${BLOCKS:-6}
REPEATS=${REPEATS:-2}
BUDGET=${BUDGET:-1400}
LIMIT=${LIMIT:-300}
PYTHON=${PYTHON:-python}
OUT=${OUT:-experiments/speed/full_size}
began=$(date +%s)
failed=0
mkdir -p "$OUT"

# run NAME overrides...
run() {
    name=$1
    shift
    if [ -s "$OUT/$name.json" ]; then
        echo "$name: there already"
        return
    fi
    if [ $(($(date +%s) - began)) -gt "$BUDGET" ]; then
        echo "$name: no time left"
        failed=1
        return
    fi
    echo "$name"
    timeout "$LIMIT" "$PYTHON" -m lvis.benchmark "model=$MODEL" "device=$DEVICE" "precision=$PRECISION" \
        weights=random "blocks=$BLOCKS" "repeats=$REPEATS" "output=$OUT/$name" "$@" >"$OUT/$name.log" 2>&1 || {
        echo "$name: failed, see $OUT/$name.log"
        failed=1
    }
}

# end to end, encoder included: the lean student is to beat 35.6 frames/s (InstantViR), and aims at 150
run student_lean solver=student vae=lean
run student_lean_compiled solver=student vae=lean optimise.compile=default
# AVIS Flash is to beat 10.2 frames/s (AVIS, on an H100)
run avis_flash solver=avis_flash
run student_wan solver=student vae=wan                            # 13.9 frames/s on an A100 (InstantViR)

# attention: against student_lean (auto); 55 ms per block is the floor of the transformer stage
run student_lean_cudnn solver=student vae=lean optimise.attention=cudnn
run student_lean_flash solver=student vae=lean optimise.attention=flash

# compilation: against student_lean and student_lean_compiled; reduce-overhead replays CUDA graphs
run student_lean_graphs solver=student vae=lean optimise.compile=reduce-overhead
run student_lean_fastest solver=student vae=lean optimise.compile=default optimise.attention=cudnn

# cost against the window, and along a stream: to be flat at blocks 10, 50 and 100
run window solver=student vae=lean mode=window 'windows=[6,12,21]' blocks=2 repeats=1
run growth solver=student vae=lean mode=growth 'growth=[10,50,100]'

run avis solver=avis blocks=2 warmup=1 repeats=1                   # 1.18 frames/s on an RTX 4090 (AVIS)
run student_lean_efficient solver=student vae=lean optimise.attention=efficient
run student_lean_max_autotune solver=student vae=lean optimise.compile=max-autotune-no-cudagraphs

# where the time goes: kernels of two blocks of the lean student and of AVIS Flash
for solver in student avis_flash; do
    if [ ! -s "$OUT/profile_$solver.json" ] && [ $(($(date +%s) - began)) -le "$BUDGET" ]; then
        echo "profile_$solver"
        timeout "$LIMIT" "$PYTHON" experiments/speed/profile_blocks.py "$OUT/profile_$solver.json" "model=$MODEL" \
            "device=$DEVICE" "precision=$PRECISION" weights=random "solver=$solver" >"$OUT/profile_$solver.log" 2>&1 || {
            echo "profile_$solver: failed, see $OUT/profile_$solver.log"
            failed=1
        }
    fi
done
exit $failed
