/* Numbers as people write them. Each returns false, and leaves *out alone, when the text is not exactly that.
 */
#ifndef LOADGEN_PARSE_H
#define LOADGEN_PARSE_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

bool parse_count(const char *text, uint64_t *out);   /* 1000, 10k, 2M */
bool parse_bytes(const char *text, uint64_t *out);   /* 64, 16KiB, 1MiB */
bool parse_time_ns(const char *text, uint64_t *out); /* 500ns, 100us, 1.5ms, 2s, 1m; a bare number is seconds */
bool parse_rate(const char *text, double *per_second); /* 1000, 12.5k, 1M */
bool parse_cpus(const char *text, cpu_set_t *out);     /* 0,2-5 */

#endif
