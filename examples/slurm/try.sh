#!/bin/bash
# Tries the job scripts of this folder, as they are, on SLURM with two node daemons on this machine, with synthetic
# images and small networks: see README.md. Everything is in a temporary folder, and its daemons end with it.
# It needs SLURM and munge (Debian: slurm-wlm, munge), and cbir and torchrun on the PATH.
# Usage: try.sh [PART...], parts array, preempted, nodes, train; all by default. KEEP=1 keeps the folder.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
parts=("${@:-array}")
[ $# -gt 0 ] || parts=(array preempted nodes train)
for part in "${parts[@]}"; do
    [[ " array preempted nodes train " == *" $part "* ]] || { echo "try.sh: no part $part" >&2; exit 2; }
done
for program in slurmctld slurmd munged cbir torchrun; do
    PATH=$PATH:/usr/sbin command -v "$program" > /dev/null || { echo "try.sh: needs $program" >&2; exit 2; }
done
PATH=$PATH:/usr/sbin
. "$here/cluster.sh"

work=$(mktemp -d)
finish() {
    local status=$?
    [ $status = 0 ] || tail -n 20 "$work"/*.log >&2 || true
    stop_cluster
    [ "${KEEP:-}" ] && echo "kept: $work" || rm -rf "$work"
    exit $status
}
trap finish EXIT
trap 'exit 130' INT TERM
export TMPDIR=$work  # for what others leave in it

say() { echo "$(date +%T) $*"; }

# Jobs inherit this: gloo has to be told which network two nodes on one machine share.
export GLOO_SOCKET_IFNAME=lo OMP_NUM_THREADS=1 CBIR_KEY=${CBIR_KEY:-$work/key}

start_cluster "$work/slurm"
cd "$work"
say "SLURM $(sinfo --version | cut -d' ' -f2), nodes $(sinfo --noheader --format=%N --partition=batch)"

count=${COUNT:-160}
cbir phantom set -n "$count" --size 64 --seed 3 -q
small=(--init none --set views=any --set validation=0.3 --seed 1)
# The full network, so that an image takes long enough to be interrupted; its weights are random.
cbir train --task pleural nih:set --image-size 224 --epochs 0 "${small[@]}" -o model.h5 -q
printf 'no image' > set/images/$(ls set/images | head -n 1)  # one that cannot be read
SLURM_CPUS_PER_TASK=1 cbir embed -m model.h5 nih:set --on-error skip -o whole.h5 -q 2> whole.log
cbir index whole.h5 -o whole.idx.h5 -q

# wait_for TEXT COMMAND...: until the command succeeds.
wait_for() {
    local what=$1 tries
    shift
    for tries in $(seq 600); do
        "$@" > /dev/null 2>&1 && return
        sleep 0.3
    done
    echo "try.sh: waited in vain for $what" >&2
    squeue >&2
    return 1
}
rows() { [ -f "$1.partial/journal.jsonl" ] && [ "$(wc -l < "$1.partial/journal.jsonl")" -ge "$2" ]; }
ended() { [[ $(state "$1") =~ ^(COMPLETED|FAILED|CANCELLED|TIMEOUT|NODE_FAIL)$ ]]; }
state() { scontrol --oneliner show job "$1" | grep -o 'JobState=[A-Z]*' | sort -u | cut -d= -f2 | paste -sd, -; }
restarts() { scontrol --oneliner show job "$1" | grep -c 'Restarts=[1-9]'; }
# start_now JOB: SLURM holds a job that was put back for two minutes; a trial does not wait for that.
start_now() {
    wait_for "job $1 in the queue" eval "scontrol --oneliner show job $1 | grep -q JobState=PENDING"
    sleep 8  # until nothing of it is left on the nodes: the end of the old run would be taken for that of the new one
    scontrol update jobid="$1" starttime=now
}
array() {  # NAME OPTIONS...: submits the array and the merge that waits for it
    local name=$1
    shift
    export DATA=nih:set MODEL=model.h5 SHARDS=$name OPTIONS="--batch-size 4"  # rows come in small steps
    job=$(sbatch --parsable --array=1-4 --cpus-per-task=1 --time=10 "$@" "$here/embed-array.sbatch")
    join=$(OPTIONS="" OUTPUT=$name.h5 sbatch --parsable --dependency=afterok:"$job" --kill-on-invalid-dep=yes "$here/merge.sbatch")
}
same() { cmp "$1" "$2" && say "$1: the same bytes as $2"; }

try_array() {
    array plain
    wait_for "the merge" ended "$join"
    same plain.h5 whole.h5
    OPTIONS=--virtual SHARDS=plain OUTPUT=virtual.h5 sbatch --wait --quiet "$here/merge.sbatch"
    cbir query whole.idx.h5 whole.h5 -k 3 > whole.tsv -q
    cbir query whole.idx.h5 virtual.h5 -k 3 > virtual.tsv -q
    same virtual.tsv whole.tsv
}

try_preempted() {
    array cut
    wait_for "rows of shard 2" rows cut/0002.h5 4
    scontrol requeue "${job}_2"
    say "shard 2 put back by scontrol requeue after $(done_of cut/0002.h5) images"
    start_now "${job}_2"
    wait_for "rows of shard 3" rows cut/0003.h5 4
    scancel --batch --signal=USR1 "${job}_3"  # as SLURM does before the time is up
    say "shard 3 told that its time is up after $(done_of cut/0003.h5) images"
    start_now "${job}_3"
    check_resumed cut 2

    array taken
    wait_for "rows of shard 1" rows taken/0001.h5 4
    sbatch --wait --quiet --partition=urgent --nodes=2 --exclusive --time=1 --output=urgent.log --wrap "sleep 1"
    say "a job of higher priority took both nodes"
    for task in 1 2 3 4; do
        [ "$(state "${job}_$task")" != PENDING ] || start_now "${job}_$task"
    done
    check_resumed taken 1
}
done_of() { wc -l < "$1.partial/journal.jsonl"; }
check_resumed() {  # NAME LEAST: waits for the merge, and checks that at least some shards went on where they were
    wait_for "the merge" ended "$join"
    [ "$(state "$join")" = COMPLETED ] || { scontrol --oneliner show job >&2; return 1; }
    local found
    found=$(grep -h resumed cbir-embed-"$job"-*.log)
    say "$(restarts "$job") tasks were started again: $(paste -sd';' <<< "$found")"
    [ "$(wc -l <<< "$found")" -ge "$2" ]
    same "$1.h5" whole.h5
}

try_nodes() {
    OUTPUT=nodes.h5 DATA=nih:set MODEL=model.h5 \
        sbatch --wait --quiet --gres=none --cpus-per-task=1 --time=10 "$here/embed-nodes.sbatch"
    same nodes.h5 whole.h5
}

try_train() {
    local task=(--image-size 32 --set architecture=densenet-tiny --set optimizer=sgd --set lr=0.05 "${small[@]}" --epochs 6)
    SLURM_CPUS_PER_TASK=1 torchrun --standalone --nproc-per-node 2 -m cbir_cli train --task pleural nih:set \
        --batch-size 4 --on-error skip "${task[@]}" -o standalone.h5 -q 2> standalone.log
    export DATA=nih:set OPTIONS="--on-error skip ${task[*]}" OUTPUT=trained.h5
    job=$(sbatch --parsable --gres=none --cpus-per-task=1 --time=10 "$here/train-nodes.sbatch")
    wait_for "a checkpoint" test -f trained.h5.checkpoint
    scancel --batch --signal=USR1 "$job"
    start_now "$job"
    wait_for "the training" ended "$job"
    [ "$(state "$job")" = COMPLETED ]
    say "training was told that its time is up, and started again: $(grep -h 'going on' cbir-train-"$job".log | paste -sd';' -)"
    grep -q 'going on' cbir-train-"$job".log
    same trained.h5 standalone.h5
}

for part in "${parts[@]}"; do
    say "--- $part"
    "try_$part"
done
say "all as it should be"
