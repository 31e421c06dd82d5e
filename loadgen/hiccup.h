/* How much this host stutters without any load: a thread keeps a plain schedule, and is late as often as others
 * take its CPU, timers are coarse or the hypervisor looks away. No load generator on this host can be more
 * punctual. */
#ifndef LOADGEN_HICCUP_H
#define LOADGEN_HICCUP_H

#include <stdbool.h>
#include <stdint.h>

#include "histogram.h"

/* Keeps the schedule for duration_ns on the calling thread, sleeping (every 200 us) or spinning (every 10 us)
 * between its moments, and records how late it was at each. */
void hiccup_probe(struct histogram *late, uint64_t duration_ns, bool spin);

#endif
