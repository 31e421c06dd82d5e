#include "work.h"

#include <time.h>

void work_burn(uint64_t loops)
{
	uint64_t x = loops;
	for (uint64_t i = 0; i < loops; i++) {
		x = x * UINT64_C(6364136223846793005) + 1442695040888963407; /* Knuth's MMIX generator */
		__asm__ volatile("" : "+r"(x));                              /* the chain must be computed */
	}
}

/* Of this thread alone: on a busy machine a clock on the wall also counts the turns of others. */
static uint64_t cpu_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t work_calibrate(void)
{
	enum { TRIALS = 10, LOOPS = 200000 };
	uint64_t best_ns = UINT64_MAX;
	for (int trial = 0; trial < TRIALS; trial++) {
		uint64_t begin_ns = cpu_ns();
		work_burn(LOOPS);
		uint64_t ns = cpu_ns() - begin_ns;
		if (ns < best_ns)
			best_ns = ns;
	}
	uint64_t per_us = LOOPS * UINT64_C(1000) / (best_ns ? best_ns : 1);
	return per_us ? per_us : 1;
}
