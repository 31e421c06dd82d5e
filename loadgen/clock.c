#include "clock.h"

enum { COST_BATCHES = 16, COST_READS = 2000 };

uint64_t clock_cpu(clockid_t clock)
{
	struct timespec spent;
	if (clock_gettime(clock, &spent) < 0)
		return 0;
	return (uint64_t)spent.tv_sec * NS_PER_S + (uint64_t)spent.tv_nsec;
}

double clock_cost_ns(void)
{
	double best = 1e9;

	/* The smallest batch is the one that nothing interrupted. */
	for (int batch = 0; batch < COST_BATCHES; batch++) {
		uint64_t start = clock_now(), end = start;
		for (int i = 0; i < COST_READS; i++)
			end = clock_now();
		double mean = (double)(end - start) / COST_READS;
		if (mean < best)
			best = mean;
	}
	return best;
}
