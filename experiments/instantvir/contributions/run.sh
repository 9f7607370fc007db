#!/usr/bin/env bash
# InstantViR's contributions in the tiny world: the two VAEs, and the lean student with and without the bridge and
# the prior, and with the critic's loss as the supplement has it.
. "$(dirname "$0")/../../evaluation.sh"
students
count=${COUNT:-32}
# further NAME OVERRIDE ...: the bundled lean student trained on
further() {
  local name=$1
  shift
  once "$python" -m lvis.train task=inpaint vae=lean trainer.threads=1 \
    distill.student_from=bundled:tiny/student_inpaint_lean distill.likelihood_only_steps=0 \
    distill.warmup_steps=50 distill.student_learning_rate=2e-3 distill.decay_steps=700 distill.zero_head=false \
    trainer.max_steps=700 trainer.validate_every=350 hydra.run.dir="$outputs/$name" "$@"
}
# score FOLDER LABEL NAME: the student of that training, as a row
score() {
  evaluate "$1" "${bf16[@]}" solver=student vae=lean task=inpaint label="$2" solver.weights="$outputs/$3/student"
}
for bridge in true false; do
  further bridge_$bridge distill.bridge=$bridge distill.prior_weight=30
  score contributions bridge_$bridge bridge_$bridge
done
further prior_0 distill.prior_weight=0
further critic_epsilon distill.prior_weight=30 distill.critic_loss=epsilon
score prior prior_30 bridge_true
score prior prior_0 prior_0
score prior critic_epsilon critic_epsilon
collect contributions/results.jsonl instantvir/contributions/results.jsonl
collect prior/results.jsonl instantvir/contributions/prior/results.jsonl
