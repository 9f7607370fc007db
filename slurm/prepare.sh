#!/bin/bash
# prepare.sh INPUT OUTPUT COUNT [sbatch option]... [-- override...]: shards of all videos of INPUT by COUNT jobs, and
# one more that puts their shares together when all have succeeded.
#   slurm/prepare.sh /data/videos /data/shards 32 --partition=cpu
set -euo pipefail
# shellcheck source=slurm/lib.sh
source slurm/lib.sh || { echo "slurm: run it in the root of the checkout" >&2; exit 2; }

(($# >= 3)) || fail "prepare.sh takes INPUT OUTPUT COUNT [sbatch option]... [-- override...]"
input=$1 output=$2 count=$3
shift 3
[[ $count =~ ^[1-9][0-9]*$ ]] || fail "COUNT=$count is not a number of jobs; use 1 or more"
options=()
while (($#)) && [[ $1 != -- ]]; do
  [[ $1 != --array* && $1 != -a* ]] || fail "$1: COUNT is the size of the array; sbatch slurm/prepare.sbatch redoes one share"
  options+=("$1")
  shift
done
job=$(sbatch --parsable --array="0-$((count - 1))" "${options[@]}" slurm/prepare.sbatch "$input" "$output" "$count" "${@:2}")
job=${job%%;*} # clusters of several name theirs after a semicolon
echo "shares: job $job"
sbatch --dependency="afterok:$job" --kill-on-invalid-dep=yes "${options[@]}" slurm/prepare.sbatch "$input" "$output" merge "${@:2}"
