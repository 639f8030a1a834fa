/* Processes on a GPU, in every shape NVML has had for them. */
#include <string.h>

#include "query.h"

/* Puts one process at place `at` of the caller's array. */
typedef void (*put_process)(void *array, size_t at, const struct process *process);

static void put_v1(void *array, size_t at, const struct process *process) {
    ((nvmlProcessInfo_v1_t *)array)[at] = (nvmlProcessInfo_v1_t){process->pid, process->memory};
}

static void put_v2(void *array, size_t at, const struct process *process) {
    ((nvmlProcessInfo_v2_t *)array)[at] = (nvmlProcessInfo_v2_t){
        process->pid, process->memory, process->gpu_instance, process->compute_instance};
}

static void put_detail(void *array, size_t at, const struct process *process) {
    ((nvmlProcessDetail_v1_t *)array)[at] = (nvmlProcessDetail_v1_t){
        process->pid, process->memory, process->gpu_instance, process->compute_instance, 0};
}

static void put_sample(void *array, size_t at, const struct process *process) {
    ((nvmlProcessUtilizationSample_t *)array)[at] = (nvmlProcessUtilizationSample_t){
        process->pid, (ull)(wall_seconds() * 1e6), (unsigned)process->sm,
        (unsigned)process->mem, (unsigned)process->enc, (unsigned)process->dec};
}

static void put_info(void *array, size_t at, const struct process *process) {
    ((nvmlProcessUtilizationInfo_v1_t *)array)[at] = (nvmlProcessUtilizationInfo_v1_t){
        (ull)(wall_seconds() * 1e6), process->pid, (unsigned)process->sm,
        (unsigned)process->mem, (unsigned)process->enc, (unsigned)process->dec, 0, 0};
}

static bool is_listed(const struct process *process, char kind) {
    if (kind == 'u') return process->sm >= 0;
    return kind == '*' || process->kind == kind;
}

static nvmlReturn_t list(const struct record *record, char kind, put_process put, unsigned int *count, void *array) {
    unsigned int room = *count, wanted = 0;
    for (size_t i = 0; i < record->process_count; i++) wanted += is_listed(&record->processes[i], kind);
    *count = wanted;
    if (wanted == 0) return OK;
    if (!array || room < wanted) return INSUFFICIENT_SIZE;
    size_t at = 0;
    for (size_t i = 0; i < record->process_count; i++)
        if (is_listed(&record->processes[i], kind)) put(array, at++, &record->processes[i]);
    return OK;
}

static nvmlReturn_t list_call(const char *function, nvmlDevice_t device, char kind, put_process put,
                              unsigned int *count, void *array) {
    nvmlReturn_t result = enter(function, device);
    if (result != OK) return result;
    uint64_t bits;
    result = read_bits(device->record, "processes", ANY, ANY, &bits);
    return leave(result == OK ? list(device->record, kind, put, count, array) : result);
}

#define LIST_PROCESSES(function, kind, put, type) \
    API nvmlReturn_t function(nvmlDevice_t device, unsigned int *count, type *array) { \
        return list_call(#function, device, kind, put, count, array); \
    }

LIST_PROCESSES(nvmlDeviceGetComputeRunningProcesses, 'C', put_v1, nvmlProcessInfo_v1_t)
LIST_PROCESSES(nvmlDeviceGetComputeRunningProcesses_v2, 'C', put_v2, nvmlProcessInfo_v2_t)
LIST_PROCESSES(nvmlDeviceGetComputeRunningProcesses_v3, 'C', put_v2, nvmlProcessInfo_v2_t)
LIST_PROCESSES(nvmlDeviceGetGraphicsRunningProcesses, 'G', put_v1, nvmlProcessInfo_v1_t)
LIST_PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v2, 'G', put_v2, nvmlProcessInfo_v2_t)
LIST_PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v3, 'G', put_v2, nvmlProcessInfo_v2_t)
LIST_PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses, 'M', put_v1, nvmlProcessInfo_v1_t)
LIST_PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses_v2, 'M', put_v2, nvmlProcessInfo_v2_t)
LIST_PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses_v3, 'M', put_v2, nvmlProcessInfo_v2_t)

API nvmlReturn_t nvmlDeviceGetRunningProcessDetailList(nvmlDevice_t device, nvmlProcessDetailList_v1_t *list_out) {
    if (list_out->version != VERSIONED(nvmlProcessDetailList_v1_t, 1)) return ARGUMENT_VERSION_MISMATCH;
    char kind = list_out->mode < 4 ? "CGM*"[list_out->mode] : '*';
    return list_call("nvmlDeviceGetRunningProcessDetailList", device, kind, put_detail,
                     &list_out->numProcArrayEntries, list_out->procArray);
}

/* The driver has nothing newer than now, and says so where it has nothing at all. */
static nvmlReturn_t samples(const char *function, nvmlDevice_t device, ull newer_than, put_process put,
                            unsigned int *count, void *array) {
    nvmlReturn_t result = enter(function, device);
    if (result != OK) return result;
    uint64_t bits;
    result = read_bits(device->record, "process_utilization", ANY, ANY, &bits);
    if (result == OK) result = list(device->record, 'u', put, count, array);
    if (result != NOT_SUPPORTED && (*count == 0 || newer_than >= (ull)(wall_seconds() * 1e6))) result = NOT_FOUND;
    return leave(result);
}

API nvmlReturn_t nvmlDeviceGetProcessUtilization(nvmlDevice_t device, nvmlProcessUtilizationSample_t *array,
                                                 unsigned int *count, ull newer_than) {
    return samples("nvmlDeviceGetProcessUtilization", device, newer_than, put_sample, count, array);
}

API nvmlReturn_t nvmlDeviceGetProcessesUtilizationInfo(nvmlDevice_t device, nvmlProcessesUtilizationInfo_v1_t *info) {
    if (info->version != VERSIONED(nvmlProcessesUtilizationInfo_v1_t, 1)) return ARGUMENT_VERSION_MISMATCH;
    return samples("nvmlDeviceGetProcessesUtilizationInfo", device, info->lastSeenTimeStamp, put_info,
                   &info->processSamplesCount, info->procUtilArray);
}
