#!/usr/bin/env bash
# Train a preset on two machines of eight GPUs. Submit with: sbatch examples/cluster/slurm.sh lvdm_sky_short runs/short
# The job is requeued when it is preempted, when a machine fails, and before its time is over; it then continues from the
# last checkpoint. Cancel it with scancel.
#SBATCH --job-name=longtake
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=longtake_%j.log
#SBATCH --signal=B:USR1@300
set -euo pipefail
preset=$1 run=$2
shift 2

# Slurm sends SIGUSR1 to this script five minutes before the time is over. torchrun gets SIGTERM, which it passes on; the
# processes write a checkpoint, and the job joins the queue again.
again=false
stop() {
    again=true
    scancel --signal=TERM "$SLURM_JOB_ID.0"
}
trap stop USR1

# Restarted processes of several machines must not find the addresses of those before (pytorch issue 135712).
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun torchrun --nnodes="$SLURM_NNODES" --nproc-per-node=8 --max-restarts=3 --shutdown-timeout=240 \
    --rdzv-backend=c10d --rdzv-endpoint="$head:29500" --rdzv-id="$SLURM_JOB_ID" \
    -m longtake.cli fit "$preset" -o "$run" "$@" &
job=$!
code=0
wait "$job" || code=$?
if $again; then
    wait "$job" || true
    scontrol requeue "$SLURM_JOB_ID"
    exit 0
fi
exit "$code"
