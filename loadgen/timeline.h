/* What happens while it happens: one JSON line per second into a file, and a line on the terminal. */
#ifndef LOADGEN_TIMELINE_H
#define LOADGEN_TIMELINE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "interval.h"
#include "options.h"

struct timeline {
	FILE *file;     /* --timeline; NULL: none */
	bool live;      /* stderr is a terminal that wants to be kept up to date */
	bool line_open; /* the cursor stands behind a live line */
	uint64_t start_ns, last_ns;
	uint64_t window_start_ns, run_end_ns; /* for the phase, and the time left */
};

/* False: the file cannot be written; `why` says so. */
bool timeline_open(struct timeline *t, const struct options *o, char *why, size_t why_size);
bool timeline_wanted(const struct timeline *t);

/* Tells what happened from the last call (or the start) until now_ns. */
void timeline_tell(struct timeline *t, const struct interval *i, uint64_t now_ns, uint64_t window_end_ns);

/* False: the file could not be written to its end. */
bool timeline_close(struct timeline *t, char *why, size_t why_size);

#endif
