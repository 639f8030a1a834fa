/* Scenario text to world; the text stays the world's own, since names and values point into it. */
#ifndef FAKE_NVML_PARSE_H
#define FAKE_NVML_PARSE_H

#include "world.h"

void parse_world(struct world *into, char *text);
void free_world(struct world *old);
uint32_t hash_of(const char *name, long a, long b);

#endif
