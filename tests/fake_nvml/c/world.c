/* The scenario as it is now: re-read when its file changes, with the faults that every call has to pass. */
#include "world.h"

#include <fnmatch.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "parse.h"

#define HANDLES 1024
#define FAULTS 4096

struct world world;

static pthread_rwlock_t world_lock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_mutex_t handle_lock = PTHREAD_MUTEX_INITIALIZER;
static struct device handles[HANDLES];
static atomic_int handle_count;
static atomic_long fault_calls[FAULTS];
static atomic_int sessions;
static _Atomic double last_check;
static double session_began;
static struct stat seen;
static bool readable;
static ull driver_of_this_process; /* a driver loaded after this process first asked answers it no more */
static bool driver_was_met;
static ull machine; /* which scenario this is: another one starts all counting afresh */

static double seconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

double wall_seconds(void) { return seconds(CLOCK_REALTIME); }

void sleep_ms(double milliseconds) {
    struct timespec rest = {(time_t)(milliseconds / 1000), (long)(fmod(milliseconds, 1000) * 1e6)};
    while (nanosleep(&rest, &rest) != 0) continue;
}

const char *scenario_path(void) {
    const char *path = getenv("FAKE_NVML_SCENARIO");
    return path ? path : "";
}

static double recheck_s(void) {
    const char *milliseconds = getenv("FAKE_NVML_RECHECK_MS");
    return milliseconds ? strtod(milliseconds, NULL) / 1000 : 0.005;
}

static char *contents_of(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    char *text = malloc((size_t)size + 1);
    size_t got = fread(text, 1, (size_t)size, file);
    text[got] = '\0';
    fclose(file);
    return text;
}

static void point_handles_at_records(void) {
    for (int i = 0; i < handle_count; i++) {
        handles[i].record = NULL;
        for (size_t j = 0; j < world.device_count; j++)
            if (strcmp(world.devices[j].uuid, handles[i].uuid) == 0) handles[i].record = &world.devices[j];
    }
}

static bool same_file(const struct stat *one, const struct stat *other) {
    return one->st_ino == other->st_ino && one->st_size == other->st_size &&
           one->st_mtim.tv_sec == other->st_mtim.tv_sec && one->st_mtim.tv_nsec == other->st_mtim.tv_nsec;
}

static void notice_another_machine(void) {
    ull found = bits_or(&world.system, "machine", 0);
    if (found == machine) return;
    machine = found;
    driver_was_met = sessions > 0;
    driver_of_this_process = bits_or(&world.system, "driver_generation", 0);
    for (int i = 0; i < FAULTS; i++) fault_calls[i] = 0;
}

void refresh_world(bool now) {
    double moment = seconds(CLOCK_MONOTONIC);
    if (!now && moment - last_check < recheck_s()) return;
    last_check = moment;
    struct stat found = {0};
    bool exists = stat(scenario_path(), &found) == 0;
    pthread_rwlock_wrlock(&world_lock);
    if (!exists) {
        readable = false;
    } else if (!readable || !same_file(&found, &seen)) {
        char *text = contents_of(scenario_path());
        readable = text != NULL;
        if (text) {
            free_world(&world);
            parse_world(&world, text);
            point_handles_at_records();
            notice_another_machine();
            seen = found;
        }
    }
    pthread_rwlock_unlock(&world_lock);
}

ull this_machine(void) { return machine; }

/* Handles */

nvmlDevice_t handle_of(struct record *record) {
    pthread_mutex_lock(&handle_lock);
    int at = 0;
    while (at < handle_count && strcmp(handles[at].uuid, record->uuid) != 0) at++;
    if (at == handle_count && at < HANDLES) {
        snprintf(handles[at].uuid, sizeof handles[at].uuid, "%s", record->uuid);
        handles[at].record = record;
        handle_count++;
    }
    pthread_mutex_unlock(&handle_lock);
    return at < HANDLES ? &handles[at] : NULL;
}

bool is_handle(nvmlDevice_t device) { return device >= handles && device < handles + handle_count; }

struct record *gpu_at(unsigned int position) {
    for (size_t i = 0; i < world.device_count; i++)
        if (world.devices[i].parent < 0 && world.devices[i].position == (int)position) return &world.devices[i];
    return NULL;
}

/* Faults */

static nvmlReturn_t suffer(const char *action, long argument) {
    if (strcmp(action, "error") == 0) return (nvmlReturn_t)argument;
    if (strcmp(action, "delay") == 0) sleep_ms((double)argument);
    if (strcmp(action, "crash") == 0) {
        signal(SIGSEGV, SIG_DFL);
        raise(SIGSEGV);
    }
    while (strcmp(action, "hang") == 0) pause();
    return OK;
}

static bool strikes(const struct fault *fault, const char *function, const char *uuid) {
    if (strcmp(fault->uuid, "*") != 0 && strcmp(fault->uuid, uuid) != 0) return false;
    if (fnmatch(fault->function, function, 0) != 0) return false;
    if (fault->after_s > 0 && seconds(CLOCK_MONOTONIC) - session_began < fault->after_s) return false;
    long call = ++fault_calls[fault->id % FAULTS];
    return call >= fault->from_call && (fault->times == 0 || call < fault->from_call + fault->times);
}

nvmlReturn_t apply_faults(const char *function, const char *uuid) {
    pthread_rwlock_rdlock(&world_lock);
    size_t count = world.fault_count;
    pthread_rwlock_unlock(&world_lock);
    for (size_t i = 0; i < count; i++) {
        char action[16] = "";
        long argument = 0;
        pthread_rwlock_rdlock(&world_lock);
        if (i < world.fault_count && strikes(&world.faults[i], function, uuid)) {
            snprintf(action, sizeof action, "%s", world.faults[i].action);
            argument = world.faults[i].argument;
        }
        pthread_rwlock_unlock(&world_lock);
        nvmlReturn_t suffered = suffer(action, argument);
        if (suffered != OK) return suffered;
    }
    return OK;
}

/* Calls */

nvmlReturn_t leave(nvmlReturn_t result) {
    pthread_rwlock_unlock(&world_lock);
    return result;
}

static nvmlReturn_t begin(const char *function, const char *uuid) {
    if (sessions == 0) return UNINITIALIZED;
    refresh_world(false);
    if (!readable) return UNKNOWN;
    nvmlReturn_t suffered = apply_faults(function, uuid);
    if (suffered != OK) return suffered;
    pthread_rwlock_rdlock(&world_lock);
    if (bits_or(&world.system, "driver_generation", 0) != driver_of_this_process) return leave(VERSION_MISMATCH);
    return OK;
}

nvmlReturn_t enter_system(const char *function) { return begin(function, ""); }

nvmlReturn_t enter(const char *function, nvmlDevice_t device) {
    if (!is_handle(device)) return sessions == 0 ? UNINITIALIZED : INVALID_ARGUMENT;
    nvmlReturn_t begun = begin(function, device->uuid);
    if (begun != OK) return begun;
    return device->record ? OK : leave(GPU_IS_LOST);
}

nvmlReturn_t enter_looking_up(const char *function, record_lookup lookup, const void *key, nvmlDevice_t *out) {
    char uuid[96] = "";
    refresh_world(false);
    pthread_rwlock_rdlock(&world_lock);
    struct record *record = lookup(key);
    if (record) snprintf(uuid, sizeof uuid, "%s", record->uuid);
    pthread_rwlock_unlock(&world_lock);
    nvmlReturn_t begun = begin(function, uuid);
    if (begun != OK) return begun;
    record = lookup(key);
    *out = record ? handle_of(record) : NULL;
    return OK;
}

nvmlReturn_t start_session(const char *function) {
    refresh_world(true);
    if (!readable) return DRIVER_NOT_LOADED;
    if (sessions == 0) session_began = seconds(CLOCK_MONOTONIC);
    nvmlReturn_t suffered = apply_faults(function, "");
    if (suffered != OK) return suffered;
    pthread_rwlock_rdlock(&world_lock);
    ull driver = bits_or(&world.system, "driver_generation", 0);
    if (!driver_was_met) driver_of_this_process = driver;
    driver_was_met = true;
    if (driver != driver_of_this_process) return leave(VERSION_MISMATCH);
    sessions++;
    return leave(OK);
}

nvmlReturn_t end_session(const char *function) {
    if (sessions == 0) return UNINITIALIZED;
    nvmlReturn_t suffered = apply_faults(function, "");
    if (suffered == OK) sessions--;
    return suffered;
}

/* Values */

static const struct value *find_exactly(const struct record *record, const char *name, long a, long b) {
    uint32_t hash = hash_of(name, a, b);
    for (size_t at = hash & record->bucket_mask; record->buckets[at]; at = (at + 1) & record->bucket_mask) {
        const struct entry *entry = &record->entries[record->buckets[at] - 1];
        if (entry->hash == hash && entry->a == a && entry->b == b && strcmp(entry->name, name) == 0)
            return &entry->value;
    }
    return NULL;
}

/* What is said of one link or scope counts before what is said of all. */
const struct value *find(const struct record *record, const char *name, long a, long b) {
    const struct value *found = find_exactly(record, name, a, b);
    if (!found && b != ANY) found = find_exactly(record, name, a, ANY);
    if (!found && a != ANY) found = find_exactly(record, name, ANY, ANY);
    return found;
}

double number_of(const struct value *value) {
    if (!value->moves) return value->base;
    double now = wall_seconds();
    double number = value->base + value->rate * (now - value->since);
    if (value->amplitude != 0) number += value->amplitude * sin(6.283185307179586 * (now + value->since) / value->period);
    return number < 0 && value->kind != 'i' && value->kind != 'I' ? 0 : number;
}

uint64_t bits_of(const struct value *value) {
    if (!value->moves) return value->bits;
    double number = number_of(value);
    return number < 0 ? (uint64_t)(int64_t)number : (uint64_t)number;
}

nvmlReturn_t read_bits(const struct record *record, const char *name, long a, long b, uint64_t *out) {
    const struct value *value = find(record, name, a, b);
    if (!value) return NOT_SUPPORTED;
    if (value->kind == 'e') return (nvmlReturn_t)value->bits;
    *out = bits_of(value);
    return OK;
}

ull bits_or(const struct record *record, const char *name, ull fallback) {
    uint64_t bits = 0;
    return record->buckets && read_bits(record, name, ANY, ANY, &bits) == OK ? bits : fallback;
}
