/* What this host and the watched processes did between two moments. */
#ifndef LOADGEN_HOST_H
#define LOADGEN_HOST_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "options.h"

struct watched_process {
	bool found;
	uint64_t cpu_ns;          /* of the whole process, exited threads included; not of its children */
	uint64_t children_cpu_ns; /* of those it has forked: living ones that are not watched themselves, and,
				     in ticks of 10 ms, all that it has waited for */
	bool switches_known;      /* not of a process with many threads: reading them would disturb the load */
	uint64_t voluntary_switches, involuntary_switches; /* summed over its living threads */
	uint32_t usable_cpus; /* at once: the smaller of its threads and the CPUs it may use */
};

struct host_cpu {
	bool online;
	uint64_t idle_ns, steal_ns; /* from /proc/stat, in its grain of USER_HZ (10 ms) */
};

struct host_sample {
	uint64_t at_ns;
	struct watched_process watched[MAX_WATCHED];
	struct host_cpu cpus[CPU_SETSIZE];
};

/* Do all --watch processes exist? Else the first that does not. */
bool host_watchable(const struct options *o, uint64_t *missing_pid);

/* The two parts of a sample, of a struct that was all zero. The clocks are quick; the threads are not, and are
 * therefore looked at outside the window: before the clocks at its beginning, behind them at its end. */
void host_sample_threads(struct host_sample *s, const struct options *o);
void host_sample_clocks(struct host_sample *s, const struct options *o);

/* What happened between two samples, as the record has it: `watch` and `host`. New references. */
json_t *host_watch_json(const struct options *o, const struct host_sample *a, const struct host_sample *b);
json_t *host_cpus_json(const struct host_sample *a, const struct host_sample *b);

/* The machine and the program: kernel, CPU model, versions, limits. */
json_t *host_env_json(void);

#endif
