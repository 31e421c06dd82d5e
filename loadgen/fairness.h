/* How evenly the good replies of the window were spread over the active connections of a load. */
#ifndef LOADGEN_FAIRNESS_H
#define LOADGEN_FAIRNESS_H

#include <stdint.h>

struct worker;

struct fairness {
	uint64_t connections, starved; /* starved: those without any */
	uint64_t min, p50, max;        /* replies per connection */
	double jain; /* (sum x)^2 / (n * sum x^2): 1 is even, 1/n is all to one; 0 when there were none */
};

/* Of load number `load`, whose `connections` these workers have shared. */
void fairness_measure(
	struct fairness *f, uint64_t connections, const struct worker *workers, uint32_t count, uint32_t load);

#endif
