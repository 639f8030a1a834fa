/* GPU performance monitoring: two samples make a metric. */
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "query.h"

struct gpm_sample {
    nvmlDevice_t device;
    double taken_at;
};

static atomic_int inside;

/* The real library has crashed processes that were in here with two threads at once. */
static nvmlReturn_t enter_gpm(const char *function, nvmlDevice_t device) {
    inside++;
    nvmlReturn_t result = enter(function, device);
    if (result != OK) {
        inside--;
        return result;
    }
    if (inside > 1 && bits_or(&world.system, "gpm_crashes_when_shared", 0)) {
        signal(SIGSEGV, SIG_DFL);
        raise(SIGSEGV);
    }
    return OK;
}

static nvmlReturn_t leave_gpm(nvmlReturn_t result) {
    inside--;
    return leave(result);
}

API nvmlReturn_t nvmlGpmQueryDeviceSupport(nvmlDevice_t device, nvmlGpmSupport_t *out) {
    if (out->version != 1) return ARGUMENT_VERSION_MISMATCH;
    return query_uint("nvmlGpmQueryDeviceSupport", device, "gpm_supported", ANY, ANY, &out->isSupportedDevice);
}

API nvmlReturn_t nvmlGpmSampleAlloc(nvmlGpmSample_t *out) {
    nvmlReturn_t result = enter_system("nvmlGpmSampleAlloc");
    if (result != OK) return result;
    *out = calloc(1, sizeof **out);
    return leave(OK);
}

API nvmlReturn_t nvmlGpmSampleFree(nvmlGpmSample_t sample) {
    nvmlReturn_t result = enter_system("nvmlGpmSampleFree");
    if (result != OK) return result;
    free(sample);
    return leave(OK);
}

static nvmlReturn_t take_sample(const char *function, nvmlDevice_t device, nvmlGpmSample_t sample) {
    nvmlReturn_t result = enter_gpm(function, device);
    if (result != OK) return result;
    if (bits_or(device->record, "gpm_supported", 0) == 0) return leave_gpm(NOT_SUPPORTED);
    sample->device = device;
    sample->taken_at = wall_seconds();
    return leave_gpm(OK);
}

API nvmlReturn_t nvmlGpmSampleGet(nvmlDevice_t device, nvmlGpmSample_t sample) {
    return take_sample("nvmlGpmSampleGet", device, sample);
}

API nvmlReturn_t nvmlGpmMigSampleGet(nvmlDevice_t device, unsigned int gpu_instance, nvmlGpmSample_t sample) {
    (void)gpu_instance;
    return take_sample("nvmlGpmMigSampleGet", device, sample);
}

static void fill_metric(const struct record *record, nvmlGpmMetric_t *metric) {
    const struct value *value = find(record, "gpm", (long)metric->metricId, ANY);
    metric->nvmlReturn = value ? (value->kind == 'e' ? (nvmlReturn_t)value->bits : OK) : NOT_SUPPORTED;
    metric->value = metric->nvmlReturn == OK ? number_of(value) : 0;
    metric->metricInfo = (nvmlGpmMetricInfo_t){"", "", "%"};
}

API nvmlReturn_t nvmlGpmMetricsGet(nvmlGpmMetricsGet_t *get) {
    if (get->version != 1) return ARGUMENT_VERSION_MISMATCH;
    if (!get->sample1 || !get->sample2 || !get->sample1->device) return INVALID_ARGUMENT;
    if (get->sample1->device != get->sample2->device) return INVALID_ARGUMENT;
    nvmlDevice_t device = get->sample1->device;
    nvmlReturn_t result = enter_gpm("nvmlGpmMetricsGet", device);
    if (result != OK) return result;
    for (unsigned int i = 0; i < get->numMetrics; i++) fill_metric(device->record, &get->metrics[i]);
    return leave_gpm(OK);
}
