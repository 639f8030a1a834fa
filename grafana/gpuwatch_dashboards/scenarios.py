"""The simulated machines on which the panels' queries must return data, by what is wrong with them."""

HEALTHY = "dgx-h100-8"
# The hot rank slows its group down, too.
HOT = "dgx-h100-8+hot@5"
SICK = (
    "dgx-h100-8+nvlink-down@2=4+nvlink-errors@3+pcie-narrow@1=8+pcie-errors@0=20"
    "+ecc@4=2+ecc-storm@6=50+row-remap@4+xid@6=63+xid@7=13+fabric-error@7"
)
GONE = "dgx-a100-8+lost@3+hang@1"
IDLE = "dgx-a100-8+idle-allocation@4-7"
SLURM = "dgx-v100-8"
MIG = "h100-mig"
# No machine of `gpuwatch sims`: an agent whose frames hold outcomes of probes.
PROBED = "probed"
# A node that Prometheus knows of and where nobody answers.
SILENT = "silent"

# What they are called in tests and documentation.
NAMES = {
    HEALTHY: "healthy",
    HOT: "hot",
    SICK: "sick",
    GONE: "gone",
    IDLE: "idle",
    SLURM: "slurm",
    MIG: "mig",
    PROBED: "probed",
    SILENT: "silent",
}
SIMULATED = tuple(machine for machine in NAMES if machine not in {PROBED, SILENT})
