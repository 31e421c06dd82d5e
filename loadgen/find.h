/* The highest rate at which a latency objective still holds, found by bisection below the closed-loop
 * throughput. */
#ifndef LOADGEN_FIND_H
#define LOADGEN_FIND_H

#include <stdbool.h>
#include <stdint.h>

#include "expected.h"
#include "options.h"
#include "run.h"
#include "timeline.h"

enum { FIND_MAX_STEPS = 24 };

struct find_step {
	double rate; /* offered per second */
	double achieved_rps;
	uint64_t value_ns; /* of the objective's quantile; HIST_INFINITE: it fell among unfinished requests */
	bool met;
	const char *missed; /* what was not met: "latency", "errors", "throughput", "invalid", "client"; NULL
			       when met */
};

struct find {
	double ceiling_rps; /* closed-loop throughput over the same connections */
	struct find_step steps[FIND_MAX_STEPS];
	uint32_t count;
	double best_rate;       /* 0: none was good */
	struct options options; /* those of the newest run; at the end those of the run that is reported */
	char rate_text[32];
};

/* Runs the search. *r is then the result of the best rate, or of the last one when none was good; r->find
 * points to *f. False: `why`. */
bool find_rate(struct find *f, const struct options *o, const struct target *target,
	const struct expected *expected, struct timeline *timeline, struct result **r, char *why,
	size_t why_size);

#endif
