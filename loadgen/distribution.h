/* A histogram as JSON, complete: what is written can be read again without loss. */
#ifndef LOADGEN_DISTRIBUTION_H
#define LOADGEN_DISTRIBUTION_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "histogram.h"

/* `unfinished` requests rank above all that are in the histogram; a quantile among them is null. null
 * altogether when the histogram is empty. A new reference. */
json_t *distribution_json(const struct histogram *h, uint64_t unfinished);

/* Adds what distribution_json() wrote. False: it is not that. */
bool distribution_read(const json_t *d, struct histogram *into, uint64_t *unfinished);

/* "p50", "p999", ...: millionths; 0 for any other name. */
uint32_t distribution_ppm(const char *name);

#endif
