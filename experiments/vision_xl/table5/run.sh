#!/usr/bin/env bash
# VISION-XL's Table 5 in the tiny world: the initialisations of Table 2, and how deep the inversion goes.
. "$(dirname "$0")/../../evaluation.sh"
common=('clips.size=[64,64]' clips.frames=17)
needs vision_xl
xl() { slowly vision_xl "${common[@]}" solver=vision_xl "$@" task=sr_plus "$circular"; }
xl label=default
xl label=random_noise solver.initialisation=noise solver.tau=1
xl label=batch_noise solver.initialisation=shared_noise solver.tau=1
for tau in 0.15 0.45; do
  xl label=tau_$tau solver.tau=$tau
done
collect vision_xl/results.jsonl vision_xl/results.jsonl
