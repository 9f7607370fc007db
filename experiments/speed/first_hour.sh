#!/bin/sh
# The first hour with a CUDA GPU, from the repository's root: is it right, and how fast is it at 480x832 and full size, with
# random weights? Results (JSON with card, driver, cuDNN, torch, commit and date; Markdown; logs) in
# experiments/speed/first_hour/. A part whose result is there is not repeated, so an interrupted script goes on where it was.
# The most telling parts come first; none begins after BUDGET seconds or takes longer than LIMIT. Tried on a CPU only:
#
#     MODEL=tiny DEVICE=cpu BLOCKS=1 REPEATS=1 experiments/speed/first_hour.sh
#
# and its own kernels and training step on fake CUDA, tests/experiments/test_first_hour.py. What to hold the numbers
# against, all ESTIMATES: python -m lvis.benchmark mode=roofline device=h100 model=wan1_3b
set -u
MODEL=${MODEL:-wan1_3b}
DEVICE=${DEVICE:-cuda}
PRECISION=${PRECISION:-auto}
BLOCKS=${BLOCKS:-6}
REPEATS=${REPEATS:-2}
BUDGET=${BUDGET:-2300}
LIMIT=${LIMIT:-290}
PYTHON=${PYTHON:-python}
OUT=${OUT:-experiments/speed/first_hour}
HERE=$(dirname "$0")
began=$(date +%s)
failed=0
mkdir -p "$OUT"

# part NAME command...: the command writes $OUT/NAME.json
part() {
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
    timeout "$LIMIT" "$@" >"$OUT/$name.log" 2>&1 || {
        echo "$name: failed, see $OUT/$name.log"
        failed=1
    }
}

# run NAME overrides of lvis.benchmark...
run() {
    what=$1
    shift
    part "$what" "$PYTHON" -m lvis.benchmark "model=$MODEL" "device=$DEVICE" "precision=$PRECISION" weights=random \
        "blocks=$BLOCKS" "repeats=$REPEATS" "output=$OUT/$what" "$@"
}

# device WHAT overrides...
device() {
    what=$1
    shift
    part "$what" "$PYTHON" "$HERE/on_device.py" "$what" "$OUT/$what.json" "device=$DEVICE" "$@"
}

# 1. right? the device against the CPU, a stream in pieces, bfloat16 against float32, operators
device correct
# 2. end to end, encoder included: the lean student is to beat 35.6 frames/s (InstantViR), and aims at 150
run student_lean solver=student vae=lean
# 3. which form of each convolution, which attention
device kernels "model=$MODEL"
run student_lean_cudnn solver=student vae=lean optimise.attention=cudnn
run student_lean_flash solver=student vae=lean optimise.attention=flash
run student_lean_direct solver=student vae=lean optimise.convolution=direct
run student_lean_taps solver=student vae=lean optimise.convolution=taps
# 4. compiled, and as CUDA graphs
run student_lean_compiled solver=student vae=lean optimise.compile=default
run student_lean_graphs solver=student vae=lean optimise.compile=reduce-overhead
run student_lean_small_window solver=student vae=lean model.window=9 model.sink=3
# 5. the others: AVIS Flash is to beat 10.2 frames/s (AVIS, on an H100); 13.9 is the wan student's (InstantViR, A100)
run student_wan solver=student vae=wan
run student_tae solver=student vae=tae
run avis_flash solver=avis_flash vae=wan
run avis solver=avis vae=wan blocks=2 warmup=1 repeats=1
# 6. cost against the window, and along a stream: to be flat at blocks 10, 50 and 100
run window solver=student vae=lean mode=window 'windows=[6,9,12,21]' blocks=2 repeats=1
run growth solver=student vae=lean mode=growth 'growth=[10,50,100]'
# 7. a training step
device training "model=$MODEL" trainer=gpu distill.encode_dtype=bfloat16
# 8. float8 (Ada, Hopper and later), and float32 for its price
run student_lean_fp8 solver=student vae=lean precision=fp8
run student_lean_fp32 solver=student vae=lean precision=fp32 blocks=2 repeats=1
# 9. where the time goes: kernels of two blocks
for solver in student avis_flash; do
    part "profile_$solver" "$PYTHON" "$HERE/profile_blocks.py" "$OUT/profile_$solver.json" "model=$MODEL" \
        "device=$DEVICE" "precision=$PRECISION" weights=random "solver=$solver"
done
exit $failed
