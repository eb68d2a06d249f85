# SLURM on this machine, for trials: a controller and two node daemons of two CPUs each, that run as the current user
# and listen on 127.0.0.1. To be sourced: start_cluster FOLDER, then stop_cluster.
# The partition "urgent" preempts the partition "batch", and what is preempted is put back into the queue.

daemons=()

start_cluster() {
    local folder=$1 ports
    read -ra ports < <(python3 - <<'PY'
import socket
free = [socket.socket() for _ in range(3)]
for one in free:
    one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in free))
PY
    )
    mkdir -p "$folder/state" "$folder/n1" "$folder/n2"
    dd if=/dev/urandom of="$folder/munge.key" bs=128 count=1 status=none
    chmod 400 "$folder/munge.key"
    cat > "$folder/slurm.conf" <<CONF
ClusterName=trial
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=${ports[0]}
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/%n.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/%n.log
ReturnToService=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=5
SchedulerParameters=sched_interval=2,bf_interval=2
NodeName=n1 NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=${ports[1]} CPUs=2
NodeName=n2 NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=${ports[2]} CPUs=2
PartitionName=batch Nodes=n1,n2 Default=YES PriorityTier=1 MaxTime=60
PartitionName=urgent Nodes=n1,n2 PriorityTier=9 MaxTime=60
CONF
    export SLURM_CONF=$folder/slurm.conf
    munged --foreground --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" \
        --pid-file="$folder/munged.pid" --log-file="$folder/munged.log" --seed-file="$folder/munged.seed" \
        > "$folder/munged.out" 2>&1 &
    daemons+=($!)
    slurmctld -D -c > "$folder/slurmctld.out" 2>&1 &
    daemons+=($!)
    local node
    for node in n1 n2; do
        slurmd -D -N "$node" > "$folder/$node.out" 2>&1 &
        daemons+=($!)
    done
    local tries
    for tries in $(seq 60); do
        [ "$(sinfo --noheader --format=%T --partition=batch 2> /dev/null)" = idle ] && return
        sleep 0.5
    done
    echo "no SLURM after 30 s: see the logs in $folder" >&2
    return 1
}

stop_cluster() {
    scancel --user="$(id -un)" > /dev/null 2>&1 || true
    local daemon
    for daemon in $(printf '%s\n' "${daemons[@]}" | tac); do
        kill "$daemon" 2> /dev/null || true
        wait "$daemon" 2> /dev/null || true
    done
    daemons=()
}
