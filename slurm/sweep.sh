#!/bin/bash
# sweep.sh SCRIPT POINTS [sbatch option]... [-- override...]: an array with one element for each point of the file.
#   slurm/sweep.sh slurm/array_train.sbatch slurm/points/train.txt --partition=gpu -- trainer.max_steps=5000
set -euo pipefail
# shellcheck source=slurm/lib.sh
source slurm/lib.sh || { echo "slurm: run it in the root of the checkout" >&2; exit 2; }

(($# >= 2)) || fail "sweep.sh takes SCRIPT POINTS [sbatch option]... [-- override...]"
script=$1 file=$2
shift 2
options=()
while (($#)) && [[ $1 != -- ]]; do
  options+=("$1")
  shift
done
check_points "$file"
last=$(($(points "$file" | wc -l) - 1))
# the user's options come last, so that --array=3,5 submits these two again
sbatch --array="0-$last" "${options[@]}" "$script" "$file" "${@:2}"
