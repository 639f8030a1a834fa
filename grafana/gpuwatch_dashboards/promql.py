"""The parts that many queries share: which series are meant, and what GPUs are told apart by."""

# A GPU is told apart by these; `uuid` goes along where one side of a join has it.
GPU = "cluster, instance, gpu"

# What the variables at the top of a board choose.
NODES = 'cluster=~"$cluster", instance=~"$node"'
GPUS = NODES + ', gpu=~"$gpu"'

# gpuwatch_gpu_info carries neither label, so it matches only where "All" is chosen: GPUs without a job stay visible then.
WORK = f'{{__name__=~"gpuwatch_gpu_info|gpuwatch_gpu_job_info", {GPUS}, pod=~"$pod", slurm_job=~"$slurm_job"}}'

# Reasons that cost speed and are nobody's intention; hw_slowdown is the sum of the two hw_ reasons.
BAD_THROTTLING = "sw_thermal|hw_thermal|hw_power_brake"

ALLOCATED = f"on ({GPU}) gpuwatch_gpu_job_info{{{GPUS}}}"


def gpu(family: str, *matchers: str) -> str:
    """The family's series of the chosen GPUs."""
    return f"{family}{{{', '.join([GPUS, *matchers])}}}"


def node(family: str, *matchers: str) -> str:
    """The family's series of the chosen nodes."""
    return f"{family}{{{', '.join([NODES, *matchers])}}}"


def at_work(expression: str) -> str:
    """Only GPUs of the chosen pods and Slurm jobs."""
    return f"{expression} and on ({GPU}) {WORK}"


def per_gpu(expression: str) -> str:
    """One series a GPU, whatever labels the series had."""
    return f"max by ({GPU}) ({expression})"


def worst_first(*ranked: tuple[int, str]) -> str:
    """One number a GPU: that of the first expression with a sample for it."""
    return "\nor ".join(f"{number} * {per_gpu(expression)}" for number, expression in ranked)


def host_of(expression: str) -> str:
    """The same with a label `host`: the instance without its port, to join what listens on other ports."""
    return f'label_replace({expression}, "host", "$1", "instance", "(.+?)(:[0-9]+)?")'
