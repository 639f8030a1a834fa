/* Calls that read one value of one device and hand it out: most of NVML. */
#ifndef FAKE_NVML_QUERY_H
#define FAKE_NVML_QUERY_H

#include "world.h"

nvmlReturn_t query_uint(const char *function, nvmlDevice_t device, const char *key, long a, long b, unsigned int *out);
nvmlReturn_t query_ull(const char *function, nvmlDevice_t device, const char *key, long a, long b, ull *out);
nvmlReturn_t query_text(const char *function, nvmlDevice_t device, const char *key, char *out, unsigned int room);
nvmlReturn_t copy_text(const struct record *record, const char *key, char *out, unsigned int room);

#define GET_UINT(function, key) \
    API nvmlReturn_t function(nvmlDevice_t device, unsigned int *out) { \
        return query_uint(#function, device, key, ANY, ANY, out); \
    }
#define GET_UINT_OF(function, key) \
    API nvmlReturn_t function(nvmlDevice_t device, unsigned int which, unsigned int *out) { \
        return query_uint(#function, device, key, (long)which, ANY, out); \
    }
#define GET_UINT_OF_TWO(function, key) \
    API nvmlReturn_t function(nvmlDevice_t device, unsigned int which, unsigned int what, unsigned int *out) { \
        return query_uint(#function, device, key, (long)which, (long)what, out); \
    }
#define GET_ULL(function, key) \
    API nvmlReturn_t function(nvmlDevice_t device, ull *out) { return query_ull(#function, device, key, ANY, ANY, out); }
#define GET_ULL_OF_TWO(function, key) \
    API nvmlReturn_t function(nvmlDevice_t device, unsigned int which, unsigned int what, ull *out) { \
        return query_ull(#function, device, key, (long)which, (long)what, out); \
    }
#define GET_TEXT(function, key) \
    API nvmlReturn_t function(nvmlDevice_t device, char *out, unsigned int room) { \
        return query_text(#function, device, key, out, room); \
    }
/* Two numbers in one call: current and pending, least and most, value and sampling period. */
#define GET_TWO_UINTS(function, key, second_key) \
    API nvmlReturn_t function(nvmlDevice_t device, unsigned int *one, unsigned int *other) { \
        uint64_t first = 0, second = 0; \
        nvmlReturn_t result = enter(#function, device); \
        if (result != OK) return result; \
        result = read_bits(device->record, key, ANY, ANY, &first); \
        if (result == OK) result = read_bits(device->record, second_key, ANY, ANY, &second); \
        *one = (unsigned int)first; \
        *other = (unsigned int)second; \
        return leave(result); \
    }

#endif
