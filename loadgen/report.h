/* The record of a run, for programs and for people. */
#ifndef LOADGEN_REPORT_H
#define LOADGEN_REPORT_H

#include <stdbool.h>
#include <stdio.h>

#include "expected.h"
#include "judge.h"
#include "options.h"
#include "run.h"

/* Completed replies per second of the window. */
double report_per_second(const struct result *r, uint64_t completed);
double report_rps(const struct result *r, const struct tally *t);

/* CPU time of the whole generator per good reply of the window, in ns; 0 when there was none. */
double report_cpu_per_request(const struct result *r);

/* `expected`: MAX_CLASSES for each load. Writes the whole result, by loadgen/schema.json, to a file or (path
 * "-") to stdout. False: `why` says what failed. */
bool report_json(const char *path, const struct options *o, const struct result *r, const struct judgement *j,
	const struct expected *expected, char *why, size_t why_size);

/* The document of a run that never began: {"valid": false, "error": ...}. */
bool report_json_error(
	const char *path, enum exit_status status, const char *error, char *why, size_t why_size);

/* Percentiles of the intended latency (open loop) or of the latency from the send, in HdrHistogram's text form:
 * of the main load to `path`, of every class and population to a file beside it whose name has theirs before
 * its ending. */
bool report_hgrm(const char *path, const struct result *r, char *why, size_t why_size);

void report_text(FILE *out, const struct options *o, const struct result *r, const struct judgement *j);

#endif
