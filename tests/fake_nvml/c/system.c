/* Starting, stopping, what the driver says of itself, and finding GPUs. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "query.h"

API nvmlReturn_t nvmlInitWithFlags(unsigned int flags) {
    (void)flags;
    return start_session("nvmlInitWithFlags");
}

API nvmlReturn_t nvmlInit_v2(void) { return start_session("nvmlInit_v2"); }

API nvmlReturn_t nvmlShutdown(void) { return end_session("nvmlShutdown"); }

API const char *nvmlErrorString(nvmlReturn_t result) {
    static const char *const words[] = {
        "Success", "Uninitialized", "Invalid Argument", "Not Supported", "Insufficient Permissions",
        "Already Initialized", "Not Found", "Insufficient Size", "Insufficient External Power", "Driver Not Loaded",
        "Timeout", "Interrupt Request Issue", "NVML Shared Library Not Found", "Function Not Found",
        "Corrupted infoROM", "GPU is lost", "GPU requires reset", "The operating system has blocked the request",
        "Driver/library version mismatch", "In use by another client", "Insufficient Memory", "No data",
        "vGPU ECC not supported", "Insufficient resources", "Frequency not supported", "Argument version mismatch",
        "Deprecated", "Not ready", "GPU not found", "Invalid state", "Reset type not supported",
    };
    return result < sizeof words / sizeof *words ? words[result] : "Unknown Error";
}

static nvmlReturn_t system_text(const char *function, const char *key, char *out, unsigned int room) {
    nvmlReturn_t result = enter_system(function);
    return result == OK ? leave(copy_text(&world.system, key, out, room)) : result;
}

static nvmlReturn_t system_number(const char *function, const char *key, uint64_t *out) {
    nvmlReturn_t result = enter_system(function);
    return result == OK ? leave(read_bits(&world.system, key, ANY, ANY, out)) : result;
}

API nvmlReturn_t nvmlSystemGetDriverVersion(char *out, unsigned int room) {
    return system_text("nvmlSystemGetDriverVersion", "driver_version", out, room);
}

API nvmlReturn_t nvmlSystemGetNVMLVersion(char *out, unsigned int room) {
    return system_text("nvmlSystemGetNVMLVersion", "nvml_version", out, room);
}

static nvmlReturn_t cuda_version(const char *function, int *out) {
    uint64_t version = 0;
    nvmlReturn_t result = system_number(function, "cuda_version", &version);
    if (result == OK) *out = (int)version;
    return result;
}

API nvmlReturn_t nvmlSystemGetCudaDriverVersion(int *out) { return cuda_version("nvmlSystemGetCudaDriverVersion", out); }

API nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *out) {
    return cuda_version("nvmlSystemGetCudaDriverVersion_v2", out);
}

static const struct process *process_anywhere(unsigned int pid) {
    for (size_t i = 0; i < world.device_count; i++)
        for (size_t j = 0; j < world.devices[i].process_count; j++)
            if (world.devices[i].processes[j].pid == pid) return &world.devices[i].processes[j];
    return NULL;
}

API nvmlReturn_t nvmlSystemGetProcessName(unsigned int pid, char *out, unsigned int room) {
    nvmlReturn_t result = enter_system("nvmlSystemGetProcessName");
    if (result != OK) return result;
    if (!process_anywhere(pid)) return leave(NOT_FOUND);
    char path[64];
    snprintf(path, sizeof path, "/proc/%u/cmdline", pid);
    FILE *file = fopen(path, "rb");
    if (!file) return leave(NOT_FOUND);
    size_t got = fread(out, 1, room - 1, file);
    out[got] = '\0';
    fclose(file);
    return leave(OK);
}

API nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *out) {
    nvmlReturn_t result = enter_system("nvmlDeviceGetCount_v2");
    if (result != OK) return result;
    unsigned int count = 0;
    while (gpu_at(count)) count++;
    *out = count;
    return leave(OK);
}

static struct record *by_index(const void *key) { return gpu_at(*(const unsigned int *)key); }

static struct record *by_uuid(const void *key) {
    for (size_t i = 0; i < world.device_count; i++)
        if (strcmp(world.devices[i].uuid, key) == 0) return &world.devices[i];
    return NULL;
}

static struct record *by_serial(const void *key) {
    for (size_t i = 0; i < world.device_count; i++) {
        const struct value *serial = find(&world.devices[i], "serial", ANY, ANY);
        if (serial && serial->kind == 's' && strcmp(serial->text, key) == 0) return &world.devices[i];
    }
    return NULL;
}

static struct record *by_bus_id(const void *key) {
    unsigned int wanted[3], bus[3];
    if (sscanf(key, "%x:%x:%x", &wanted[0], &wanted[1], &wanted[2]) != 3) return NULL;
    for (size_t i = 0; i < world.device_count; i++) {
        const struct value *id = find(&world.devices[i], "pci_bus_id", ANY, ANY);
        if (id && id->kind == 's' && sscanf(id->text, "%x:%x:%x", &bus[0], &bus[1], &bus[2]) == 3 &&
            memcmp(wanted, bus, sizeof bus) == 0)
            return &world.devices[i];
    }
    return NULL;
}

static nvmlReturn_t look_up(const char *function, record_lookup lookup, const void *key, nvmlReturn_t unfound,
                            nvmlDevice_t *out) {
    nvmlDevice_t found = NULL;
    nvmlReturn_t result = enter_looking_up(function, lookup, key, &found);
    if (result != OK) return result;
    if (found) *out = found;
    return leave(found ? OK : unfound);
}

API nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *out) {
    return look_up("nvmlDeviceGetHandleByIndex_v2", by_index, &index, INVALID_ARGUMENT, out);
}

API nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *out) {
    return look_up("nvmlDeviceGetHandleByUUID", by_uuid, uuid, NOT_FOUND, out);
}

API nvmlReturn_t nvmlDeviceGetHandleBySerial(const char *serial, nvmlDevice_t *out) {
    return look_up("nvmlDeviceGetHandleBySerial", by_serial, serial, NOT_FOUND, out);
}

API nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, nvmlDevice_t *out) {
    return look_up("nvmlDeviceGetHandleByPciBusId_v2", by_bus_id, bus_id, NOT_FOUND, out);
}

API nvmlReturn_t nvmlDeviceGetIndex(nvmlDevice_t device, unsigned int *out) {
    nvmlReturn_t result = enter("nvmlDeviceGetIndex", device);
    if (result != OK) return result;
    *out = (unsigned int)device->record->position;
    return leave(OK);
}

/* MIG */

API nvmlReturn_t nvmlDeviceIsMigDeviceHandle(nvmlDevice_t device, unsigned int *out) {
    nvmlReturn_t result = enter("nvmlDeviceIsMigDeviceHandle", device);
    if (result != OK) return result;
    *out = device->record->parent >= 0;
    return leave(OK);
}

API nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t device, unsigned int index, nvmlDevice_t *out) {
    nvmlReturn_t result = enter("nvmlDeviceGetMigDeviceHandleByIndex", device);
    if (result != OK) return result;
    if (bits_or(device->record, "mig_mode", 0) == 0) return leave(NOT_SUPPORTED);
    for (size_t i = 0; i < world.device_count; i++) {
        struct record *instance = &world.devices[i];
        if (instance->parent < 0 || &world.devices[instance->parent] != device->record) continue;
        if (instance->position != (int)index) continue;
        *out = handle_of(instance);
        return leave(OK);
    }
    return leave(NOT_FOUND);
}

API nvmlReturn_t nvmlDeviceGetDeviceHandleFromMigDeviceHandle(nvmlDevice_t device, nvmlDevice_t *out) {
    nvmlReturn_t result = enter("nvmlDeviceGetDeviceHandleFromMigDeviceHandle", device);
    if (result != OK) return result;
    if (device->record->parent < 0) return leave(INVALID_ARGUMENT);
    *out = handle_of(&world.devices[device->record->parent]);
    return leave(OK);
}
