# shellcheck shell=bash
# What the job scripts share: the environment, starting the processes, going back to the queue.

readonly EXIT_REQUEUE=75 # lvis.distill.preemption: stopped by a signal, a checkpoint is written

fail() {
  echo "slurm: $*" >&2
  exit 2
}

# The Python that runs lvis, and the settings of its processes. Whatever is set already stays.
use_environment() {
  if [[ -z ${PYTHON:-} ]]; then
    PYTHON=python3
    [[ -x .venv/bin/python ]] && PYTHON=.venv/bin/python
  fi
  if [[ ${ENV_CACHE:-0} == 1 ]]; then cache_environment; fi
  # a process may use its own cores only; eight that each start a thread per core of the node wait for one another
  export OMP_NUM_THREADS=${OMP_NUM_THREADS:-${SLURM_CPUS_PER_TASK:-1}}
  # a failed collective names its cause; INFO would write pages from each process
  export NCCL_DEBUG=${NCCL_DEBUG:-WARN}
  # a crash in CUDA or NCCL leaves its Python stack in the log, and lines reach the log before a SIGKILL
  export PYTHONFAULTHANDLER=${PYTHONFAULTHANDLER:-1} PYTHONUNBUFFERED=${PYTHONUNBUFFERED:-1}
}

# Copies PYTHON's virtual environment to each node's own disk, where an earlier job has not left it. One archive per node
# is read quickly from a shared file system; tens of thousands of small files, opened by every process, are not.
cache_environment() {
  local folder archive key copy
  folder=$(dirname "$(dirname "$PYTHON")")
  [[ -f $folder/pyvenv.cfg ]] || fail "ENV_CACHE=1 copies a virtual environment, and $PYTHON is not in one"
  archive=outputs/environment.tar
  # make setup touches .ready, venv and pip touch site-packages
  if [[ ! -f $archive || -n $(find "$folder/.ready" "$folder"/lib/python*/site-packages -maxdepth 0 -newer "$archive" 2>/dev/null) ]]; then
    mkdir -p outputs
    tar -cf "$archive.$SLURM_JOB_ID.tmp" -C "$folder" .
    mv "$archive.$SLURM_JOB_ID.tmp" "$archive"
  fi
  key=$(stat -c %Y_%s "$archive")
  copy=${SLURM_TMPDIR:-${TMPDIR:-/tmp}}/lvis_${UID}_$key
  srun --ntasks="$SLURM_NNODES" --ntasks-per-node=1 bash slurm/unpack.sh "$archive" "$copy"
  PYTHON=$copy/bin/python
}

# one_each COMMAND...: the command as every task of the job; its exit status.
# No shell stands between srun and python, so that SLURM's signal reaches python itself. --kill-on-bad-exit=0, because
# 75 is no crash: the first process to leave must not have the others killed. --wait, because the others of one that
# did crash are to end in five minutes, not at the job's time limit.
one_each() {
  srun --kill-on-bad-exit=0 --wait=300 --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" "$@"
}

# run_training OVERRIDE...: lvis.train on all GPUs of the job; after a signal, back to the queue. Does not return.
# The shell takes no signal on purpose: scancel's SIGTERM ends it here, and a cancelled job does not come back.
run_training() {
  local status=0
  # the paper's presets bring their own trainer, those with adapters one for a single GPU
  local word trainer=(trainer=ddp)
  for word in "$@"; do [[ ! $word =~ ^experiment=instantvir(_(wan|lean)_.*)?$ ]] || trainer=(); done
  one_each "$PYTHON" -m lvis.train "${trainer[@]}" "trainer.devices=$SLURM_NTASKS_PER_NODE" \
    "trainer.num_nodes=$SLURM_NNODES" "$@" || status=$?
  ((status == EXIT_REQUEUE)) || exit "$status"
  # the number of an array's last element is also that of the whole array; NUMBER_INDEX is one element
  local job=$SLURM_JOB_ID
  if [[ -n ${SLURM_ARRAY_TASK_ID:-} ]]; then job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID; fi
  scontrol requeue "$job" || {
    echo "slurm: job $job could not be requeued; submit it again to continue from its checkpoint" >&2
    exit "$EXIT_REQUEUE"
  }
  exit 0
}

# points FILE: one line per point, without comments, blank lines and the carriage returns of Windows.
points() {
  awk '{ sub(/\r$/, ""); sub(/(^|[ \t])#.*$/, ""); if (NF) { $1 = $1; print } }' "$1"
}

# check_points FILE: exits with one sentence unless every line is overrides, and no two are the same run.
check_points() {
  local file=$1 line word number=0 twice
  [[ -f $file ]] || fail "there is no file of points $file"
  while IFS= read -r line; do
    number=$((number + 1))
    local -a words
    read -ra words <<<"$line"
    for word in "${words[@]}"; do
      [[ $word =~ ^(~[A-Za-z_][A-Za-z0-9_./@-]*$|[+]{0,2}[A-Za-z_][A-Za-z0-9_./@-]*=) ]] ||
        fail "$file, point $number: $word is not an override; write key=value, without spaces in it"
    done
  done < <(points "$file")
  ((number)) || fail "$file has no points; write one line of overrides each"
  twice=$(points "$file" | sort | uniq -d | head -n 1)
  [[ -z $twice ]] || fail "$file has the point \"$twice\" twice, and both would write to one folder"
}

# choose_point FILE: sets POINT (the overrides of this element of the array) and POINT_NAME (of its folder, which stays
# the same when lines are added).
choose_point() {
  local file=${1:-} index=${SLURM_ARRAY_TASK_ID:-} line count
  [[ -n $file && -n $index ]] || fail "this script is one element of an array; submit it with slurm/sweep.sh"
  check_points "$file"
  count=$(points "$file" | wc -l)
  ((index < count)) || fail "$file has $count points, and none has the index $index; submit with slurm/sweep.sh, which counts them"
  line=$(points "$file" | sed -n "$((index + 1))p")
  read -ra POINT <<<"$line"
  POINT_NAME=$(tr -c 'A-Za-z0-9._\n-' '-' <<<"$(IFS=_ && echo "${POINT[*]}")")
  # file systems end at 255 bytes
  if ((${#POINT_NAME} > 150)); then
    POINT_NAME=${POINT_NAME:0:150}-$(cksum <<<"${POINT[*]}" | cut -d ' ' -f 1)
  fi
}
