#!/bin/bash
# unpack.sh ARCHIVE FOLDER: FOLDER holds the archive's files, complete or not at all. Run once on each node.
set -euo pipefail
archive=$1 folder=$2
if [[ -d $folder ]]; then
  # the folder of temporary files is everyone's, and its names can be foreseen
  [[ -O $folder && ! -L $folder ]] && exit 0
  echo "slurm: $folder belongs to somebody else; remove it, or run without ENV_CACHE=1" >&2
  exit 2
fi
unfinished=$(mktemp -d "$folder.XXXXXX")
trap 'rm -rf "$unfinished"' EXIT
tar -xf "$archive" -C "$unfinished"
# where another job of ours was faster, its copy is as good
mv -T "$unfinished" "$folder" 2>/dev/null || [[ -O $folder ]]
