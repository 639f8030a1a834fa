/* Xids and their like: every process is told each of them once. */
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "query.h"

#define REGISTRATIONS 64
#define REMEMBERED 4096

struct registration {
    nvmlDevice_t device;
    ull types, since; /* the newest event there was when the device was registered */
};

struct event_set {
    struct registration registrations[REGISTRATIONS];
    int count;
    int watch;
};

static pthread_mutex_t told_lock = PTHREAD_MUTEX_INITIALIZER;
static bool told[REMEMBERED];
static ull told_on; /* the machine that `told` speaks of */

static int watch_scenario(void) {
    char folder[4096];
    snprintf(folder, sizeof folder, "%s", scenario_path());
    char *slash = strrchr(folder, '/');
    if (slash) *slash = '\0';
    int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (watch >= 0) inotify_add_watch(watch, slash ? folder : ".", IN_MOVED_TO | IN_CLOSE_WRITE);
    return watch;
}

API nvmlReturn_t nvmlEventSetCreate(nvmlEventSet_t *out) {
    nvmlReturn_t result = enter_system("nvmlEventSetCreate");
    if (result != OK) return result;
    *out = calloc(1, sizeof **out);
    (*out)->watch = watch_scenario();
    return leave(OK);
}

API nvmlReturn_t nvmlEventSetFree(nvmlEventSet_t set) {
    nvmlReturn_t result = enter_system("nvmlEventSetFree");
    if (result != OK) return result;
    if (set->watch >= 0) close(set->watch);
    free(set);
    return leave(OK);
}

API nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t device, ull types, nvmlEventSet_t set) {
    nvmlReturn_t result = enter("nvmlDeviceRegisterEvents", device);
    if (result != OK) return result;
    uint64_t supported = 0;
    result = read_bits(device->record, "event_types", ANY, ANY, &supported);
    if (result != OK) return leave(result);
    if (types & ~supported) return leave(NOT_SUPPORTED);
    if (set->count == REGISTRATIONS) return leave(INSUFFICIENT_SIZE);
    ull newest = 0;
    for (size_t i = 0; i < world.event_count; i++)
        if (world.events[i].sequence > newest) newest = world.events[i].sequence;
    set->registrations[set->count++] = (struct registration){device, types, newest};
    return leave(OK);
}

static const struct registration *wanting(const struct event_set *set, const struct event *event) {
    for (int i = 0; i < set->count; i++) {
        const struct registration *registration = &set->registrations[i];
        if (strcmp(registration->device->uuid, event->uuid) != 0 || !(registration->types & event->type)) continue;
        if (event->live_only && event->sequence <= registration->since) continue;
        return registration;
    }
    return NULL;
}

/* TIMED_OUT: nothing new. */
static nvmlReturn_t next_event(const char *function, nvmlEventSet_t set, nvmlEventData_t *out) {
    nvmlReturn_t result = enter_system(function);
    if (result != OK) return result;
    result = TIMED_OUT;
    pthread_mutex_lock(&told_lock);
    if (told_on != this_machine()) memset(told, 0, sizeof told);
    told_on = this_machine();
    for (size_t i = 0; i < world.event_count && result == TIMED_OUT; i++) {
        const struct event *event = &world.events[i];
        const struct registration *registration = wanting(set, event);
        if (!registration || event->sequence >= REMEMBERED || told[event->sequence]) continue;
        told[event->sequence] = true;
        *out = (nvmlEventData_t){registration->device, event->type, event->data, 0xffffffff, 0xffffffff};
        result = OK;
    }
    pthread_mutex_unlock(&told_lock);
    return leave(result);
}

static nvmlReturn_t wait_for_event(const char *function, nvmlEventSet_t set, nvmlEventData_t *out, unsigned int ms) {
    double deadline = wall_seconds() + ms / 1e3;
    for (;;) {
        nvmlReturn_t result = next_event(function, set, out);
        double left_ms = (deadline - wall_seconds()) * 1e3;
        if (result != TIMED_OUT || left_ms <= 0) return result;
        /* A second at most: time itself may bring a fault on ("after T seconds"). */
        struct pollfd scenario_changed = {set->watch, POLLIN, 0};
        poll(&scenario_changed, 1, left_ms < 1000 ? (int)left_ms + 1 : 1000);
        char drained[4096];
        while (read(set->watch, drained, sizeof drained) > 0) continue;
        refresh_world(true);
    }
}

API nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t set, nvmlEventData_t *out, unsigned int timeout_ms) {
    return wait_for_event("nvmlEventSetWait_v2", set, out, timeout_ms);
}

API nvmlReturn_t nvmlEventSetWait(nvmlEventSet_t set, nvmlEventData_t *out, unsigned int timeout_ms) {
    return wait_for_event("nvmlEventSetWait", set, out, timeout_ms);
}
