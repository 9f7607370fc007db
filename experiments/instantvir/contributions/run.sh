#!/usr/bin/env bash
# InstantViR's contributions in the tiny world: the two VAEs, and the lean student with and without the bridge.
. "$(dirname "$0")/../../evaluation.sh"
students
count=${COUNT:-32}
for bridge in true false; do
  trained=$outputs/bridge_$bridge
  once "$python" -m lvis.train task=inpaint vae=lean trainer.threads=1 distill.bridge=$bridge \
    distill.student_from=bundled:tiny/student_inpaint_lean distill.likelihood_only_steps=0 distill.prior_weight=30 \
    distill.warmup_steps=50 distill.student_learning_rate=2e-3 distill.decay_steps=700 distill.zero_head=false \
    trainer.max_steps=700 trainer.validate_every=350 hydra.run.dir="$trained"
  evaluate contributions "${bf16[@]}" solver=student vae=lean task=inpaint label=bridge_$bridge solver.weights="$trained/student"
done
collect contributions/results.jsonl instantvir/contributions/results.jsonl
