/* The one clock of a run: CLOCK_MONOTONIC in nanoseconds, read through the vDSO where the kernel offers it. */
#ifndef LOADGEN_CLOCK_H
#define LOADGEN_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_US UINT64_C(1000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)

/* A moment that never comes: an infinite wait. */
#define CLOCK_NEVER UINT64_MAX

static inline uint64_t clock_now(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static inline struct timespec clock_timespec(uint64_t ns)
{
	return (struct timespec){.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
}

/* CPU time consumed so far on a CPU clock (of a thread, this process or another one); 0 where it cannot be
 * read. */
uint64_t clock_cpu(clockid_t clock);

/* What one clock_now() costs on this host: the smallest mean of several batches, in ns. */
double clock_cost_ns(void);

#endif
