/* One run: threads, phases, and what came out. */
#ifndef LOADGEN_RUN_H
#define LOADGEN_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "host.h"
#include "net.h"
#include "options.h"
#include "worker.h"

struct thread_result {
	int cpu;         /* pinned to; -1: not pinned */
	uint64_t cpu_ns; /* between the two samples */
	double busy; /* share of the window that the thread had work: 1 means that the client is the limit */
};

struct result {
	bool started; /* the connections were established; else `failure` says why not */
	bool interrupted;
	char failure[256];
	struct tally total;                                  /* of all threads */
	uint64_t connect_ns, warmup_ns, window_ns, drain_ns; /* how long each phase really took */
	struct host_sample before, after;                    /* at the edges of the window */
	uint64_t process_cpu_ns;                             /* of the whole generator, between the samples */
	uint32_t thread_count;
	struct thread_result *threads;
	double clock_cost_ns;
};

/* Runs the load and fills *r. False: it could not even begin (no memory, no thread); `why` says what failed.
 * SIGINT and SIGTERM must be blocked; they end the run early. */
bool run_load(
	const struct options *o, const struct target *target, struct result *r, char *why, size_t why_size);
void run_free(struct result *r);

#endif
