#include "query.h"

#include <string.h>

nvmlReturn_t query_ull(const char *function, nvmlDevice_t device, const char *key, long a, long b, ull *out) {
    nvmlReturn_t result = enter(function, device);
    if (result != OK) return result;
    uint64_t bits = 0;
    result = read_bits(device->record, key, a, b, &bits);
    if (result == OK) *out = bits;
    return leave(result);
}

nvmlReturn_t query_uint(const char *function, nvmlDevice_t device, const char *key, long a, long b, unsigned int *out) {
    ull wide = 0;
    nvmlReturn_t result = query_ull(function, device, key, a, b, &wide);
    if (result == OK) *out = (unsigned int)wide;
    return result;
}

nvmlReturn_t copy_text(const struct record *record, const char *key, char *out, unsigned int room) {
    const struct value *value = find(record, key, ANY, ANY);
    if (!value) return NOT_SUPPORTED;
    if (value->kind == 'e') return (nvmlReturn_t)value->bits;
    size_t length = strlen(value->text);
    if (length + 1 > room) return INSUFFICIENT_SIZE;
    memcpy(out, value->text, length + 1);
    return OK;
}

nvmlReturn_t query_text(const char *function, nvmlDevice_t device, const char *key, char *out, unsigned int room) {
    nvmlReturn_t result = enter(function, device);
    return result == OK ? leave(copy_text(device->record, key, out, room)) : result;
}
