/* The world that the scenario file describes, and the start and end of every call into it. */
#ifndef FAKE_NVML_WORLD_H
#define FAKE_NVML_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nvml_abi.h"

#define API __attribute__((visibility("default")))
#define ANY (-1L)

/* One value: `base`, plus `rate` a second since `since`, plus a wave of `amplitude` and `period` seconds. */
struct value {
    char kind; /* u 32 bits, U 64 bits, i signed 32 bits, I signed 64 bits, d double, s text, e error code */
    bool moves;
    uint64_t bits;
    double base, rate, since, amplitude, period;
    const char *text;
};

struct entry {
    const char *name;
    long a, b; /* which link, fan, field id and scope; ANY where there is nothing to choose */
    uint32_t hash;
    struct value value;
};

struct process {
    unsigned int pid;
    char kind; /* C compute, G graphics, M MPS */
    ull memory;
    int sm, mem, enc, dec; /* per cent; sm < 0: the driver has no sample of this process */
    unsigned int gpu_instance, compute_instance;
};

struct record {
    struct entry *entries;
    struct process *processes;
    uint32_t *buckets;
    size_t entry_count, entry_room, process_count, process_room, bucket_mask;
    const char *uuid;
    int position; /* in the driver's list; a MIG instance's position in its GPU */
    int parent;   /* a MIG instance's GPU in `devices`, else -1 */
};

struct fault {
    unsigned int id;
    const char *function, *uuid, *action;
    long argument, from_call, times;
    double after_s;
};

struct event {
    ull sequence;
    const char *uuid;
    ull type, data;
    bool live_only;
};

struct world {
    char *text;
    struct record system;
    struct record *devices;
    struct fault *faults;
    struct event *events;
    size_t device_count, device_room, fault_count, fault_room, event_count, event_room;
};

/* What a handle points at; lives as long as the process, because real handles outlive a re-init too. */
struct device {
    char uuid[96];
    struct record *record; /* NULL while the GPU is off the bus */
};

extern struct world world;

/* Read the file again if it changed. */
void refresh_world(bool now);
ull this_machine(void);
const char *scenario_path(void);

/* A call begins: faults first, then the world is held for reading until `leave`. */
nvmlReturn_t enter(const char *function, nvmlDevice_t device);
nvmlReturn_t enter_system(const char *function);
nvmlReturn_t leave(nvmlReturn_t result);

/* For calls that find a GPU by something: the faults of the GPU found strike, and `out` is NULL where there is none. */
typedef struct record *(*record_lookup)(const void *key);
nvmlReturn_t enter_looking_up(const char *function, record_lookup lookup, const void *key, nvmlDevice_t *out);

nvmlReturn_t apply_faults(const char *function, const char *uuid);
nvmlReturn_t start_session(const char *function);
nvmlReturn_t end_session(const char *function);

nvmlDevice_t handle_of(struct record *record);
bool is_handle(nvmlDevice_t device);
struct record *gpu_at(unsigned int position);

const struct value *find(const struct record *record, const char *name, long a, long b);
double number_of(const struct value *value);
uint64_t bits_of(const struct value *value);
nvmlReturn_t read_bits(const struct record *record, const char *name, long a, long b, uint64_t *out);
ull bits_or(const struct record *record, const char *name, ull fallback);
double wall_seconds(void);
void sleep_ms(double milliseconds);

#endif
