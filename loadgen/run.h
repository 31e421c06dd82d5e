/* One run: threads, phases, and what came out. */
#ifndef LOADGEN_RUN_H
#define LOADGEN_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "fairness.h"
#include "host.h"
#include "net.h"
#include "options.h"
#include "worker.h"

struct thread_result {
	int cpu;         /* pinned to; -1: not pinned */
	uint64_t cpu_ns; /* between the two samples */
	double busy; /* share of the window that the thread had work: 1 means that the client is the limit */
};

struct expected;
struct find;

/* What one population of connections did: the main one, or one of --population. */
struct load {
	const struct options *options;
	struct tally total; /* of all its threads */
	struct fairness fairness;
	double target_rps; /* open loop: requests due per second of the window, on average */
};

/* A planned pause of a process, and when it really happened. */
struct event_result {
	uint64_t pid, planned_ns, length_ns;
	uint64_t from_ns, until_ns; /* 0: not done */
	int error;                  /* the errno of a signal that could not be sent */
};

struct result {
	bool started; /* the connections were established; else `failure` says why not */
	bool interrupted;
	char failure[256];
	struct load *loads; /* the main one first, then those of --population */
	uint32_t load_count;
	uint64_t start_ns, window_start_ns;                  /* moments */
	uint64_t connect_ns, warmup_ns, window_ns, drain_ns; /* how long each phase really took */
	struct host_sample before, after;                    /* at the edges of the window */
	uint64_t process_cpu_ns;                             /* of the whole generator, between the samples */
	uint32_t thread_count;
	struct thread_result *threads;
	struct event_result events[MAX_PAUSES];
	uint32_t event_count;
	double clock_cost_ns;
	struct histogram hiccups;
	const struct find *find; /* --find-rate: the search that led to this run; else NULL */
};

struct timeline;

/* Runs the load and fills *r. `expected`: one for each load. False: it could not even begin (no memory, no
 * thread); `why` says what failed. SIGINT and SIGTERM must be blocked; they end the run early. */
bool run_load(const struct options *o, const struct target *target, const struct expected *expected,
	struct timeline *timeline, struct result *r, char *why, size_t why_size);
void run_free(struct result *r);

#endif
