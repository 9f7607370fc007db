#!/usr/bin/env bash
# AVIS with other corrections and initialisations, in the tiny world.
. "$(dirname "$0")/../../evaluation.sh"
common=("${bf16[@]}" vae=wan)
evaluate avis "${common[@]}" solver=avis label=table1 task=inpaint,deblur,temporal_average
evaluate avis "${common[@]}" solver=avis label=init_pinv solver.x_init=pinv task=deblur,temporal_average
evaluate avis "${common[@]}" solver=avis label=gamma_100 solver.gamma=100 task=inpaint,deblur,temporal_average
evaluate avis "${common[@]}" solver=avis label=round_trips solver.gamma=1e-9 task=inpaint,deblur
collect avis/results.jsonl avis/results.jsonl
