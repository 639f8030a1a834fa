/* The scenario file is lines of words: `system`, `gpu` and `mig` open a section, the rest fill it. scenario.py writes it. */
#include "parse.h"

#include <stdlib.h>
#include <string.h>

/* Room for one more element, doubling as it fills up. */
static void *grown(void *array, size_t count, size_t *room, size_t size) {
    if (count < *room) return array;
    *room = *room ? *room * 2 : 8;
    return realloc(array, *room * size);
}

static char *next_word(char **cursor) {
    char *word = *cursor;
    while (*word == ' ') word++;
    if (*word == '\0') {
        *cursor = word;
        return word;
    }
    char *end = word;
    while (*end != ' ' && *end != '\0') end++;
    *cursor = *end ? end + 1 : end;
    *end = '\0';
    return word;
}

static long next_long(char **cursor) { return strtol(next_word(cursor), NULL, 0); }
static double next_double(char **cursor) { return strtod(next_word(cursor), NULL); }
static ull next_ull(char **cursor) { return strtoull(next_word(cursor), NULL, 0); }

uint32_t hash_of(const char *name, long a, long b) {
    uint32_t hash = 2166136261u;
    for (; *name; name++) hash = (hash ^ (unsigned char)*name) * 16777619u;
    hash = (hash ^ (uint32_t)a) * 16777619u;
    return (hash ^ (uint32_t)b) * 16777619u;
}

static void parse_value(struct value *value, char *rest) {
    memset(value, 0, sizeof *value);
    value->kind = *next_word(&rest);
    if (value->kind == 's') {
        value->text = rest;
        return;
    }
    char *number = next_word(&rest);
    value->base = strtod(number, NULL);
    value->bits = *number == '-' ? (uint64_t)strtoll(number, NULL, 0) : strtoull(number, NULL, 0);
    value->rate = next_double(&rest);
    value->since = next_double(&rest);
    value->amplitude = next_double(&rest);
    value->period = next_double(&rest);
    value->moves = value->rate != 0 || value->amplitude != 0;
}

/* `name/a/b kind base rate since amplitude period` */
static void parse_entry(struct record *record, char *line) {
    char *name = next_word(&line);
    record->entries = grown(record->entries, record->entry_count, &record->entry_room, sizeof *record->entries);
    struct entry *entry = &record->entries[record->entry_count++];
    entry->a = entry->b = ANY;
    char *slash = strchr(name, '/');
    if (slash) {
        *slash = '\0';
        char *second;
        entry->a = strtol(slash + 1, &second, 0);
        if (*second == '/') entry->b = strtol(second + 1, NULL, 0);
    }
    entry->name = name;
    entry->hash = hash_of(name, entry->a, entry->b);
    parse_value(&entry->value, line);
    if (strcmp(name, "uuid") == 0) record->uuid = entry->value.text;
}

static void parse_process(struct record *record, char *line) {
    record->processes =
        grown(record->processes, record->process_count, &record->process_room, sizeof *record->processes);
    struct process *process = &record->processes[record->process_count++];
    process->pid = (unsigned int)next_ull(&line);
    process->kind = *next_word(&line);
    process->memory = next_ull(&line);
    process->sm = (int)next_long(&line);
    process->mem = (int)next_long(&line);
    process->enc = (int)next_long(&line);
    process->dec = (int)next_long(&line);
    process->gpu_instance = (unsigned int)next_ull(&line);
    process->compute_instance = (unsigned int)next_ull(&line);
}

static void parse_fault(struct world *into, char *line) {
    into->faults = grown(into->faults, into->fault_count, &into->fault_room, sizeof *into->faults);
    struct fault *fault = &into->faults[into->fault_count++];
    fault->id = (unsigned int)next_ull(&line);
    fault->function = next_word(&line);
    fault->uuid = next_word(&line);
    fault->action = next_word(&line);
    fault->argument = next_long(&line);
    fault->from_call = next_long(&line);
    fault->times = next_long(&line);
    fault->after_s = next_double(&line);
}

static void parse_event(struct world *into, char *line) {
    into->events = grown(into->events, into->event_count, &into->event_room, sizeof *into->events);
    struct event *event = &into->events[into->event_count++];
    event->sequence = next_ull(&line);
    event->uuid = next_word(&line);
    event->type = next_ull(&line);
    event->data = next_ull(&line);
    event->live_only = next_long(&line) != 0;
}

static struct record *new_device(struct world *into) {
    into->devices = grown(into->devices, into->device_count, &into->device_room, sizeof *into->devices);
    struct record *device = &into->devices[into->device_count++];
    memset(device, 0, sizeof *device);
    device->uuid = "";
    device->parent = -1;
    return device;
}

static void index_entries(struct record *record) {
    size_t room = 16;
    while (room < record->entry_count * 2) room *= 2;
    record->bucket_mask = room - 1;
    record->buckets = calloc(room, sizeof *record->buckets);
    for (size_t i = 0; i < record->entry_count; i++) {
        size_t at = record->entries[i].hash & record->bucket_mask;
        while (record->buckets[at]) at = (at + 1) & record->bucket_mask;
        record->buckets[at] = (uint32_t)i + 1;
    }
}

void parse_world(struct world *into, char *text) {
    memset(into, 0, sizeof *into);
    into->text = text;
    into->system.uuid = "";
    into->system.parent = -1;
    int gpu = -1, gpus = 0, instances = 0;
    struct record *section = &into->system;
    for (char *line = text, *next; line && *line; line = next) {
        next = strchr(line, '\n');
        if (next) *next++ = '\0';
        char *rest = line;
        if (strncmp(line, "gpu ", 4) == 0) {
            section = new_device(into);
            section->position = gpus++;
            gpu = (int)into->device_count - 1;
            instances = 0;
        } else if (strncmp(line, "mig ", 4) == 0) {
            section = new_device(into);
            section->position = instances++;
            section->parent = gpu;
        } else if (strncmp(line, "process ", 8) == 0) {
            next_word(&rest);
            parse_process(section, rest);
        } else if (strncmp(line, "fault ", 6) == 0) {
            next_word(&rest);
            parse_fault(into, rest);
        } else if (strncmp(line, "event ", 6) == 0) {
            next_word(&rest);
            parse_event(into, rest);
        } else if (*line) {
            parse_entry(section, line);
        }
    }
    index_entries(&into->system);
    for (size_t i = 0; i < into->device_count; i++) index_entries(&into->devices[i]);
}

static void free_record(struct record *record) {
    free(record->entries);
    free(record->processes);
    free(record->buckets);
}

void free_world(struct world *old) {
    free_record(&old->system);
    for (size_t i = 0; i < old->device_count; i++) free_record(&old->devices[i]);
    free(old->devices);
    free(old->faults);
    free(old->events);
    free(old->text);
    memset(old, 0, sizeof *old);
}
