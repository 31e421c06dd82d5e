/* What the run is worth: who was the limit, whether the instrument kept its own rules, and the exit status. */
#ifndef LOADGEN_JUDGE_H
#define LOADGEN_JUDGE_H

#include <stdbool.h>

#include "run.h"

enum exit_status { EXIT_GOOD = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_INVALID = 3 };

enum { MAX_CHECKS = 8 + MAX_POPULATIONS };

/* One rule and its figure. A rule that is broken makes the run invalid. */
struct check {
	const char *name;
	double value, limit;
	bool kept;
	char text[160]; /* one line for people: what it is, with the figures */
};

struct judgement {
	const char *bound; /* "client", "server" or "neither" */
	bool valid;
	bool failed; /* requests or connections failed, or nothing was answered at all */
	enum exit_status status;
	struct check checks[MAX_CHECKS];
	unsigned check_count;
	double client_busy; /* of the busiest thread, 0 to 1 */
};

void judge(struct judgement *j, const struct options *o, const struct result *r);

#endif
