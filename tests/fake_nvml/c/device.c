/* What is known of one board: one line a function where one value is all it hands out. */
#include <stdio.h>
#include <string.h>

#include "query.h"

/* Identity */
GET_TEXT(nvmlDeviceGetName, "name")
GET_TEXT(nvmlDeviceGetUUID, "uuid")
GET_TEXT(nvmlDeviceGetSerial, "serial")
GET_TEXT(nvmlDeviceGetVbiosVersion, "vbios_version")
GET_UINT(nvmlDeviceGetMinorNumber, "minor_number")
GET_UINT(nvmlDeviceGetBrand, "brand")
GET_UINT(nvmlDeviceGetArchitecture, "architecture")
GET_UINT(nvmlDeviceGetNumaNodeId, "numa_node")
GET_UINT(nvmlDeviceGetNumGpuCores, "cores")
GET_UINT(nvmlDeviceGetMemoryBusWidth, "memory_bus_width")
GET_UINT(nvmlDeviceGetMultiGpuBoard, "multi_gpu_board")
GET_TWO_UINTS(nvmlDeviceGetCudaComputeCapability, "compute_capability_major", "compute_capability_minor")

/* Activity */
GET_TWO_UINTS(nvmlDeviceGetEncoderUtilization, "encoder_pct", "codec_sampling_us")
GET_TWO_UINTS(nvmlDeviceGetDecoderUtilization, "decoder_pct", "codec_sampling_us")
GET_TWO_UINTS(nvmlDeviceGetJpgUtilization, "jpeg_pct", "codec_sampling_us")
GET_TWO_UINTS(nvmlDeviceGetOfaUtilization, "ofa_pct", "codec_sampling_us")

/* Power */
GET_UINT(nvmlDeviceGetPowerUsage, "power_mw")
GET_UINT(nvmlDeviceGetEnforcedPowerLimit, "enforced_power_limit_mw")
GET_UINT(nvmlDeviceGetPowerManagementLimit, "power_limit_mw")
GET_UINT(nvmlDeviceGetPowerManagementDefaultLimit, "default_power_limit_mw")
GET_UINT(nvmlDeviceGetPowerManagementMode, "power_management")
GET_ULL(nvmlDeviceGetTotalEnergyConsumption, "energy_mj")
GET_TWO_UINTS(nvmlDeviceGetPowerManagementLimitConstraints, "min_power_limit_mw", "max_power_limit_mw")

/* Heat */
GET_UINT_OF(nvmlDeviceGetTemperature, "temperature_c")
GET_UINT_OF(nvmlDeviceGetTemperatureThreshold, "temperature_threshold_c")
GET_UINT(nvmlDeviceGetNumFans, "fans")
GET_UINT_OF(nvmlDeviceGetFanSpeed_v2, "fan_pct")

/* Clocks */
GET_UINT_OF(nvmlDeviceGetClockInfo, "clock_mhz")
GET_UINT_OF(nvmlDeviceGetMaxClockInfo, "max_clock_mhz")
GET_UINT_OF(nvmlDeviceGetApplicationsClock, "applications_clock_mhz")
GET_UINT_OF(nvmlDeviceGetDefaultApplicationsClock, "applications_clock_mhz")
GET_UINT_OF(nvmlDeviceGetMaxCustomerBoostClock, "max_clock_mhz")
GET_UINT(nvmlDeviceGetPerformanceState, "pstate")
GET_ULL(nvmlDeviceGetCurrentClocksThrottleReasons, "throttle_reasons")
GET_ULL(nvmlDeviceGetCurrentClocksEventReasons, "throttle_reasons")
GET_ULL(nvmlDeviceGetSupportedClocksThrottleReasons, "supported_throttle_reasons")
GET_ULL(nvmlDeviceGetSupportedClocksEventReasons, "supported_throttle_reasons")

/* PCIe */
GET_UINT(nvmlDeviceGetCurrPcieLinkGeneration, "pcie_gen")
GET_UINT(nvmlDeviceGetMaxPcieLinkGeneration, "pcie_gen_max")
GET_UINT(nvmlDeviceGetGpuMaxPcieLinkGeneration, "pcie_gen_gpu_max")
GET_UINT(nvmlDeviceGetCurrPcieLinkWidth, "pcie_width")
GET_UINT(nvmlDeviceGetMaxPcieLinkWidth, "pcie_width_max")
GET_UINT(nvmlDeviceGetPcieReplayCounter, "pcie_replays")
GET_UINT(nvmlDeviceGetPcieSpeed, "pcie_speed_mbps")

/* Memory health */
GET_TWO_UINTS(nvmlDeviceGetEccMode, "ecc_mode", "ecc_mode_pending")
GET_ULL_OF_TWO(nvmlDeviceGetTotalEccErrors, "ecc_errors")
GET_UINT(nvmlDeviceGetRetiredPagesPendingStatus, "retired_pages_pending")

/* Modes */
GET_UINT(nvmlDeviceGetPersistenceMode, "persistence_mode")
GET_UINT(nvmlDeviceGetComputeMode, "compute_mode")
GET_UINT(nvmlDeviceGetDisplayActive, "display_active")
GET_UINT(nvmlDeviceGetDisplayMode, "display_mode")
GET_UINT(nvmlDeviceGetAccountingMode, "accounting_mode")
GET_TWO_UINTS(nvmlDeviceGetDriverModel, "driver_model", "driver_model")
GET_TWO_UINTS(nvmlDeviceGetDriverModel_v2, "driver_model", "driver_model")
GET_TWO_UINTS(nvmlDeviceGetMigMode, "mig_mode", "mig_mode_pending")
GET_UINT(nvmlDeviceGetMaxMigDeviceCount, "max_mig_instances")
GET_UINT(nvmlDeviceGetGpuInstanceId, "gpu_instance")
GET_UINT(nvmlDeviceGetComputeInstanceId, "compute_instance")
GET_ULL(nvmlDeviceGetSupportedEventTypes, "event_types")

/* NVLink */
GET_UINT_OF(nvmlDeviceGetNvLinkState, "nvlink_state")
GET_UINT_OF(nvmlDeviceGetNvLinkVersion, "nvlink_version")
GET_UINT_OF(nvmlDeviceGetNvLinkRemoteDeviceType, "nvlink_remote_type")
GET_UINT_OF_TWO(nvmlDeviceGetNvLinkCapability, "nvlink_capability")
GET_ULL_OF_TWO(nvmlDeviceGetNvLinkErrorCounter, "nvlink_errors")

API nvmlReturn_t nvmlDeviceGetClock(nvmlDevice_t device, unsigned int type, unsigned int id, unsigned int *out) {
    static const char *const keys[] = {"clock_mhz", "applications_clock_mhz", "applications_clock_mhz", "max_clock_mhz"};
    return query_uint("nvmlDeviceGetClock", device, keys[id < 4 ? id : 0], (long)type, ANY, out);
}

API nvmlReturn_t nvmlDeviceGetFanSpeed(nvmlDevice_t device, unsigned int *out) {
    return query_uint("nvmlDeviceGetFanSpeed", device, "fan_pct", 0, ANY, out);
}

API nvmlReturn_t nvmlDeviceGetTemperatureV(nvmlDevice_t device, nvmlTemperature_v1_t *out) {
    if (out->version != VERSIONED(nvmlTemperature_v1_t, 1)) return ARGUMENT_VERSION_MISMATCH;
    unsigned int degrees = 0;
    nvmlReturn_t result =
        query_uint("nvmlDeviceGetTemperatureV", device, "temperature_c", (long)out->sensorType, ANY, &degrees);
    if (result == OK) out->temperature = (int)degrees;
    return result;
}

API nvmlReturn_t nvmlDeviceGetMarginTemperature(nvmlDevice_t device, nvmlMarginTemperature_v1_t *out) {
    if (out->version != VERSIONED(nvmlMarginTemperature_v1_t, 1)) return ARGUMENT_VERSION_MISMATCH;
    unsigned int degrees = 0;
    nvmlReturn_t result =
        query_uint("nvmlDeviceGetMarginTemperature", device, "temperature_margin_c", ANY, ANY, &degrees);
    if (result == OK) out->marginTemperature = (int)degrees;
    return result;
}

API nvmlReturn_t nvmlDeviceGetFanSpeedRPM(nvmlDevice_t device, nvmlFanSpeedInfo_t *out) {
    if (out->version != VERSIONED(nvmlFanSpeedInfo_t, 1)) return ARGUMENT_VERSION_MISMATCH;
    return query_uint("nvmlDeviceGetFanSpeedRPM", device, "fan_rpm", (long)out->fan, ANY, &out->speed);
}

static nvmlReturn_t fill_pci(const struct record *record, const char *key, long which, nvmlPciInfo_t *out) {
    const struct value *id = find(record, key, which, ANY);
    if (!id) return NOT_SUPPORTED;
    if (id->kind == 'e') return (nvmlReturn_t)id->bits;
    memset(out, 0, sizeof *out);
    sscanf(id->text, "%x:%x:%x", &out->domain, &out->bus, &out->device);
    snprintf(out->busId, sizeof out->busId, "%s", id->text);
    snprintf(out->busIdLegacy, sizeof out->busIdLegacy, "%04X:%02X:%02X.0", out->domain & 0xffff, out->bus & 0xff,
             out->device & 0xff);
    return OK;
}

API nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t *out) {
    nvmlReturn_t result = enter("nvmlDeviceGetPciInfo_v3", device);
    if (result != OK) return result;
    result = fill_pci(device->record, "pci_bus_id", ANY, out);
    out->pciDeviceId = (unsigned int)bits_or(device->record, "pci_device_id", 0);
    out->pciSubSystemId = (unsigned int)bits_or(device->record, "pci_subsystem_id", 0);
    return leave(result);
}

API nvmlReturn_t nvmlDeviceGetNvLinkRemotePciInfo_v2(nvmlDevice_t device, unsigned int link, nvmlPciInfo_t *out) {
    nvmlReturn_t result = enter("nvmlDeviceGetNvLinkRemotePciInfo_v2", device);
    return result == OK ? leave(fill_pci(device->record, "nvlink_remote_pci", (long)link, out)) : result;
}

API nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *out) {
    nvmlReturn_t result = enter("nvmlDeviceGetUtilizationRates", device);
    if (result != OK) return result;
    uint64_t gpu = 0, memory = 0;
    result = read_bits(device->record, "utilization_pct", ANY, ANY, &gpu);
    if (result == OK) result = read_bits(device->record, "memory_utilization_pct", ANY, ANY, &memory);
    out->gpu = (unsigned int)gpu;
    out->memory = (unsigned int)memory;
    return leave(result);
}

static nvmlReturn_t read_memory(const char *function, nvmlDevice_t device, ull *total, ull *reserved, ull *used) {
    nvmlReturn_t result = enter(function, device);
    if (result != OK) return result;
    uint64_t total_bytes = 0, used_bytes = 0;
    result = read_bits(device->record, "memory_total", ANY, ANY, &total_bytes);
    if (result == OK) result = read_bits(device->record, "memory_used", ANY, ANY, &used_bytes);
    *total = total_bytes;
    *used = used_bytes;
    *reserved = bits_or(device->record, "memory_reserved", 0);
    return leave(result);
}

/* The first version counts what the driver keeps for itself as used. */
API nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *out) {
    ull reserved;
    nvmlReturn_t result = read_memory("nvmlDeviceGetMemoryInfo", device, &out->total, &reserved, &out->used);
    if (result != OK) return result;
    out->used += reserved;
    out->free = out->total - out->used;
    return OK;
}

API nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *out) {
    if (out->version != VERSIONED(nvmlMemory_v2_t, 2)) return ARGUMENT_VERSION_MISMATCH;
    nvmlReturn_t result =
        read_memory("nvmlDeviceGetMemoryInfo_v2", device, &out->total, &out->reserved, &out->used);
    if (result == OK) out->free = out->total - out->reserved - out->used;
    return result;
}

API nvmlReturn_t nvmlDeviceGetBAR1MemoryInfo(nvmlDevice_t device, nvmlBAR1Memory_t *out) {
    nvmlReturn_t result = enter("nvmlDeviceGetBAR1MemoryInfo", device);
    if (result != OK) return result;
    uint64_t total = 0, used = 0;
    result = read_bits(device->record, "bar1_total", ANY, ANY, &total);
    if (result == OK) result = read_bits(device->record, "bar1_used", ANY, ANY, &used);
    out->bar1Total = total;
    out->bar1Used = used;
    out->bar1Free = total - used;
    return leave(result);
}

API nvmlReturn_t nvmlDeviceGetViolationStatus(nvmlDevice_t device, unsigned int policy, nvmlViolationTime_t *out) {
    out->referenceTime = (ull)(wall_seconds() * 1e6);
    return query_ull("nvmlDeviceGetViolationStatus", device, "violation_ns", (long)policy, ANY, &out->violationTime);
}

/* The real one watches the bus for 20 ms before it answers, in KB/s. */
API nvmlReturn_t nvmlDeviceGetPcieThroughput(nvmlDevice_t device, unsigned int counter, unsigned int *out) {
    nvmlReturn_t result = enter("nvmlDeviceGetPcieThroughput", device);
    if (result != OK) return result;
    uint64_t kilobytes = 0;
    result = read_bits(device->record, "pcie_throughput_kb", (long)counter, ANY, &kilobytes);
    double watched_ms = result == OK ? (double)bits_or(&world.system, "pcie_throughput_ms", 0) : 0;
    leave(OK);
    sleep_ms(watched_ms);
    if (result == OK) *out = (unsigned int)kilobytes;
    return result;
}

API nvmlReturn_t nvmlDeviceGetMemoryErrorCounter(nvmlDevice_t device, unsigned int type, unsigned int counter,
                                                 unsigned int location, ull *out) {
    return query_ull("nvmlDeviceGetMemoryErrorCounter", device, "memory_errors", (long)(type * 2 + counter),
                     (long)location, out);
}

API nvmlReturn_t nvmlDeviceGetDetailedEccErrors(nvmlDevice_t device, unsigned int type, unsigned int counter,
                                                nvmlEccErrorCounts_t *out) {
    memset(out, 0, sizeof *out);
    return query_ull("nvmlDeviceGetDetailedEccErrors", device, "ecc_errors", (long)type, (long)counter,
                     &out->deviceMemory);
}

API nvmlReturn_t nvmlDeviceGetRemappedRows(nvmlDevice_t device, unsigned int *corrected, unsigned int *uncorrected,
                                           unsigned int *pending, unsigned int *failed) {
    nvmlReturn_t result = enter("nvmlDeviceGetRemappedRows", device);
    if (result != OK) return result;
    unsigned int *const out[] = {corrected, uncorrected, pending, failed};
    for (long i = 0; i < 4 && result == OK; i++) {
        uint64_t bits = 0;
        result = read_bits(device->record, "remapped_rows", i, ANY, &bits);
        *out[i] = (unsigned int)bits;
    }
    return leave(result);
}

API nvmlReturn_t nvmlDeviceGetRowRemapperHistogram(nvmlDevice_t device, nvmlRowRemapperHistogramValues_t *out) {
    memset(out, 0, sizeof *out);
    return query_uint("nvmlDeviceGetRowRemapperHistogram", device, "row_remapper_banks", ANY, ANY, &out->max);
}

API nvmlReturn_t nvmlDeviceGetAttributes_v2(nvmlDevice_t device, nvmlDeviceAttributes_t *out) {
    nvmlReturn_t result = enter("nvmlDeviceGetAttributes_v2", device);
    if (result != OK) return result;
    const struct record *record = device->record;
    if (!find(record, "gpu_instance_slices", ANY, ANY)) return leave(NOT_SUPPORTED);
    memset(out, 0, sizeof *out);
    out->multiprocessorCount = (unsigned int)bits_or(record, "multiprocessors", 0);
    out->gpuInstanceSliceCount = (unsigned int)bits_or(record, "gpu_instance_slices", 0);
    out->computeInstanceSliceCount = (unsigned int)bits_or(record, "compute_instance_slices", 0);
    out->sharedCopyEngineCount = (unsigned int)bits_or(record, "copy_engines", 1);
    out->memorySizeMB = bits_or(record, "memory_total", 0) >> 20;
    return leave(OK);
}

/* Places */

/* A pair is told by the other board's slot, which stays its own when boards before it leave the list. */
static nvmlReturn_t query_pair(const char *function, nvmlDevice_t one, nvmlDevice_t other, const char *key, long what,
                               unsigned int *out) {
    if (!is_handle(other)) return INVALID_ARGUMENT;
    nvmlReturn_t result = enter(function, one);
    if (result != OK) return result;
    if (!other->record) return leave(GPU_IS_LOST);
    uint64_t bits = 0;
    result = read_bits(one->record, key, (long)bits_or(other->record, "slot", 0), what, &bits);
    if (result == OK) *out = (unsigned int)bits;
    return leave(result);
}

API nvmlReturn_t nvmlDeviceGetTopologyCommonAncestor(nvmlDevice_t one, nvmlDevice_t other, unsigned int *out) {
    return query_pair("nvmlDeviceGetTopologyCommonAncestor", one, other, "ancestor", ANY, out);
}

API nvmlReturn_t nvmlDeviceGetP2PStatus(nvmlDevice_t one, nvmlDevice_t other, unsigned int what, unsigned int *out) {
    return query_pair("nvmlDeviceGetP2PStatus", one, other, "p2p_status", (long)what, out);
}

static nvmlReturn_t fill_mask(const char *function, nvmlDevice_t device, const char *key, unsigned int words,
                              unsigned long *out) {
    nvmlReturn_t result = enter(function, device);
    if (result != OK) return result;
    memset(out, 0, words * sizeof *out);
    for (long i = 0; i < (long)words; i++) {
        uint64_t bits = 0;
        result = read_bits(device->record, key, i, ANY, &bits);
        if (result != OK) return leave(i > 0 && result == NOT_SUPPORTED ? OK : result);
        out[i] = bits;
    }
    return leave(OK);
}

API nvmlReturn_t nvmlDeviceGetCpuAffinity(nvmlDevice_t device, unsigned int words, unsigned long *out) {
    return fill_mask("nvmlDeviceGetCpuAffinity", device, "cpu_affinity", words, out);
}

API nvmlReturn_t nvmlDeviceGetCpuAffinityWithinScope(nvmlDevice_t device, unsigned int words, unsigned long *out,
                                                     unsigned int scope) {
    (void)scope;
    return fill_mask("nvmlDeviceGetCpuAffinityWithinScope", device, "cpu_affinity", words, out);
}

API nvmlReturn_t nvmlDeviceGetMemoryAffinity(nvmlDevice_t device, unsigned int words, unsigned long *out,
                                             unsigned int scope) {
    (void)scope;
    return fill_mask("nvmlDeviceGetMemoryAffinity", device, "memory_affinity", words, out);
}

static nvmlReturn_t retired_pages(const char *function, nvmlDevice_t device, unsigned int cause, unsigned int *count,
                                  ull *addresses, ull *times) {
    nvmlReturn_t result = enter(function, device);
    if (result != OK) return result;
    uint64_t pages = 0;
    result = read_bits(device->record, "retired_pages", (long)cause, ANY, &pages);
    if (result != OK) return leave(result);
    unsigned int room = *count;
    *count = (unsigned int)pages;
    if (pages == 0) return leave(OK);
    if (room < pages || !addresses) return leave(INSUFFICIENT_SIZE);
    for (ull i = 0; i < pages; i++) {
        addresses[i] = 0x10000 * (i + 1);
        if (times) times[i] = 1700000000 + i;
    }
    return leave(OK);
}

API nvmlReturn_t nvmlDeviceGetRetiredPages(nvmlDevice_t device, unsigned int cause, unsigned int *count,
                                           ull *addresses) {
    return retired_pages("nvmlDeviceGetRetiredPages", device, cause, count, addresses, NULL);
}

/* The binding asks for the size without the last argument: nothing may be read through it then. */
API nvmlReturn_t nvmlDeviceGetRetiredPages_v2(nvmlDevice_t device, unsigned int cause, unsigned int *count,
                                              ull *addresses, ull *times) {
    return retired_pages("nvmlDeviceGetRetiredPages_v2", device, cause, count, addresses, addresses ? times : NULL);
}

/* Fabric */

static nvmlReturn_t fill_fabric(const struct record *record, nvmlGpuFabricInfo_v3_t *out) {
    uint64_t state = 0;
    nvmlReturn_t result = read_bits(record, "fabric_state", ANY, ANY, &state);
    if (result != OK) return result;
    memset(out, 0, sizeof *out);
    out->state = (unsigned int)state;
    out->status = (nvmlReturn_t)bits_or(record, "fabric_status", 0);
    out->cliqueId = (uint32_t)bits_or(record, "fabric_clique", 0);
    out->healthMask = (uint32_t)bits_or(record, "fabric_health", 0);
    out->healthSummary = (uint8_t)bits_or(record, "fabric_summary", 0);
    memset(out->clusterUuid, (int)bits_or(record, "fabric_cluster", 0), sizeof out->clusterUuid);
    return OK;
}

API nvmlReturn_t nvmlDeviceGetGpuFabricInfo(nvmlDevice_t device, nvmlGpuFabricInfo_t *out) {
    nvmlReturn_t result = enter("nvmlDeviceGetGpuFabricInfo", device);
    if (result != OK) return result;
    nvmlGpuFabricInfo_v3_t all;
    result = fill_fabric(device->record, &all);
    if (result == OK) memcpy(out, (char *)&all + sizeof all.version, sizeof *out);
    return leave(result);
}

API nvmlReturn_t nvmlDeviceGetGpuFabricInfoV(nvmlDevice_t device, void *out) {
    unsigned int version = *(unsigned int *)out;
    bool second = version == VERSIONED(nvmlGpuFabricInfo_v2_t, 2);
    if (!second && version != VERSIONED(nvmlGpuFabricInfo_v3_t, 3)) return ARGUMENT_VERSION_MISMATCH;
    nvmlReturn_t result = enter("nvmlDeviceGetGpuFabricInfoV", device);
    if (result != OK) return result;
    nvmlGpuFabricInfo_v3_t all;
    result = fill_fabric(device->record, &all);
    all.version = version;
    if (result == OK) memcpy(out, &all, second ? sizeof(nvmlGpuFabricInfo_v2_t) : sizeof all);
    return leave(result);
}
