#!/usr/bin/env bash
# The supplement's parameter mismatch: the true kernel is 61 x 61 with sigma 3, and the solver assumes another.
# kernel_mismatch.sh [ARGUMENT OF lvis.evaluate ...], as in: kernel_mismatch.sh solver=avis clips.count=4
set -euo pipefail
run() { python -m lvis.evaluate -m task=deblur output=outputs/kernel_mismatch clips.pictures=0 \
  'compare_with={method: null, vae: null, label: told_size_61}' "$@"; }
# shellcheck disable=SC2016
run '+assumed.size=59,61,63' 'label=told_size_${assumed.size}' "$@"
# shellcheck disable=SC2016
run '+assumed.sigma=2.7,2.9,3.1,3.3' 'label=told_sigma_${assumed.sigma}' "$@"
