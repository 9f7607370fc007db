#!/usr/bin/env bash
# The papers' rows with `consistency=prox`, for the tables beside theirs (SVI's fit the measurement as they are): experiments/prox/run.sh [vision_xl lvtino avis students]
. "$(dirname "$0")/../evaluation.sh"
small=('clips.size=[64,64]' clips.frames=17)

# prox SYNTHETIC REAL ARGUMENT ...: on as many clips of either kind as the rows without it have
prox() {
  local count=$1 REAL_CLIPS
  REAL_CLIPS=$(cut -d, -f"1-$2" <<<"$real_clips")
  shift 2
  evaluate prox consistency=prox label=prox "$@"
}

for part in ${*:-vision_xl lvtino avis students}; do
  case $part in
  vision_xl)
    prox 4 4 "${small[@]}" solver=vision_xl task=sr_plus "$circular"
    prox 2 4 "${small[@]}" solver=vision_xl task=sr4 "$average"
    prox 2 2 "${small[@]}" solver=vision_xl task=inpaint,deblur
    for task in inpaint_plus deblur_plus; do prox 2 2 "${small[@]}" solver=vision_xl task=$task "$circular"; done
    ;;
  lvtino)
    prox 2 2 "${small[@]}" solver=lvtino task=inpaint,deblur
    prox 2 4 "${small[@]}" solver=lvtino task=sr4 "$average"
    ;;
  avis)
    for solver in avis avis_flash; do
      prox 8 4 "${bf16[@]}" vae=wan solver=$solver task=inpaint,deblur,temporal_average,spatiotemporal_average
      prox 8 4 "${bf16[@]}" vae=wan solver=$solver task=sr4 "$average"
    done
    ;;
  students)
    for vae in lean wan; do prox 32 4 "${bf16[@]}" solver=student vae=$vae task=inpaint,deblur,sr4; done
    ;;
  esac
  collect prox/results.jsonl prox/results.jsonl
done
