"""What people who have dcgm-exporter ask Prometheus: the queries of its dashboard and of rules in public repositories."""

_BY_INSTANCE = '{instance=~".+", gpu=~".+"}'
_BY_HOST = '{Hostname=~".+", gpu=~".+"}'

DASHBOARD = (
    # Dashboard 12239, variables and panels.
    "count by (instance) (DCGM_FI_DEV_GPU_TEMP)",
    "count by (gpu) (DCGM_FI_DEV_GPU_TEMP)",
    f"DCGM_FI_DEV_GPU_TEMP{_BY_INSTANCE}",
    f"avg(DCGM_FI_DEV_GPU_TEMP{_BY_INSTANCE})",
    f"DCGM_FI_DEV_POWER_USAGE{_BY_INSTANCE}",
    f"sum(DCGM_FI_DEV_POWER_USAGE{_BY_INSTANCE})",
    f"DCGM_FI_DEV_SM_CLOCK{_BY_INSTANCE} * 1000000",
    f"DCGM_FI_DEV_GPU_UTIL{_BY_INSTANCE}",
    f"DCGM_FI_DEV_FB_USED{_BY_INSTANCE}",
    f"DCGM_FI_PROF_PIPE_TENSOR_ACTIVE{_BY_INSTANCE}",
    # Its later form, which goes by host and knows MIG; it has the utilisation from the profiler.
    "count by (Hostname) (DCGM_FI_DEV_FB_FREE)",
    'count by (gpu) (DCGM_FI_DEV_FB_FREE{Hostname=~".+"})',
    f"max(DCGM_FI_DEV_GPU_TEMP{_BY_HOST}) by (Hostname, gpu, uuid)",
    f"avg(DCGM_FI_DEV_GPU_TEMP{_BY_HOST})",
    f"max(DCGM_FI_DEV_POWER_USAGE{_BY_HOST}) by (Hostname, gpu, uuid)",
    f"sum(max(DCGM_FI_DEV_POWER_USAGE{_BY_HOST}) by (gpu))",
    f"max(DCGM_FI_DEV_SM_CLOCK{_BY_HOST} * 1000000) by (Hostname, UUID, gpu)",
    f"max(DCGM_FI_PROF_GR_ENGINE_ACTIVE{_BY_HOST}) by (Hostname, gpu, GPU_I_ID, GPU_I_PROFILE)",
    f"max(DCGM_FI_PROF_PIPE_TENSOR_ACTIVE{_BY_HOST}) by (Hostname, gpu, GPU_I_ID, GPU_I_PROFILE)",
    f"max(DCGM_FI_DEV_FB_USED{_BY_HOST}) by (Hostname, gpu, GPU_I_ID, GPU_I_PROFILE)",
)

ASKED = (
    # What rules compare with thresholds of their own.
    "rate(DCGM_FI_DEV_THERMAL_VIOLATION[5m])",
    "rate(DCGM_FI_DEV_POWER_VIOLATION[5m])",
    "DCGM_FI_DEV_FB_USED / (DCGM_FI_DEV_FB_USED + DCGM_FI_DEV_FB_FREE)",
    "DCGM_FI_DEV_SM_CLOCK / max_over_time(DCGM_FI_DEV_SM_CLOCK[1h])",
    "DCGM_FI_DEV_MEM_COPY_UTIL",
    "DCGM_FI_DEV_MEMORY_TEMP",
    "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS",
    "DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL > 0",
    "rate(DCGM_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL[1h])",
    "rate(DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION[5m]) / 1000",
    "DCGM_FI_DEV_POWER_USAGE / DCGM_FI_DEV_ENFORCED_POWER_LIMIT",
    "DCGM_FI_PROF_PCIE_TX_BYTES + DCGM_FI_PROF_PCIE_RX_BYTES",
    "DCGM_FI_PROF_DRAM_ACTIVE",
    "DCGM_FI_PROF_SM_ACTIVE",
    "increase(DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS[1h])",
    "DCGM_FI_DEV_ROW_REMAP_FAILURE",
)

FIRING = {
    # Rules, with the fault that is to make them fire and the GPU it is on.
    "DCGM_FI_DEV_XID_ERRORS == 79": ("xid@1=79~4", "1"),
    'max_over_time(DCGM_EXP_XID_ERRORS_COUNT{xid="79"}[5m]) > 0': ("xid@1=79~4", "1"),
    "increase(DCGM_FI_DEV_ECC_DBE_VOL_TOTAL[1h]) > 0": ("ecc@2~6", "2"),
    "rate(DCGM_FI_DEV_PCIE_REPLAY_COUNTER[5m]) > 1": ("pcie-errors@3=50", "3"),
    "DCGM_FI_DEV_PCIE_LINK_WIDTH < 16": ("pcie-narrow@4", "4"),
    "DCGM_FI_DEV_ROW_REMAP_FAILURE == 1": ("row-remap-failed@5", "5"),
    "rate(DCGM_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL[5m]) > 0": ("nvlink-errors@6", "6"),
    "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS >= 128": ("power-brake@7", "7"),
}
