/* The command line: what the run shall be. Parsed once, then read-only. */
#ifndef LOADGEN_OPTIONS_H
#define LOADGEN_OPTIONS_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

enum mode { MODE_CLOSED, MODE_OPEN };
enum arrival { ARRIVAL_CONSTANT, ARRIVAL_POISSON };
enum wait { WAIT_BLOCK, WAIT_SPIN };
enum engine_name { ENGINE_EPOLL, ENGINE_IO_URING };
enum protocol_name { PROTOCOL_ECHO };

enum { MAX_WATCHED = 16 };

struct options {
	const char *target;
	uint32_t protocol, mode, arrival, wait, engine; /* the enums above */
	uint64_t connections, idle, depth, threads;
	uint64_t size;
	uint64_t warmup_ns, duration_ns, drain_ns, timeout_ns, connect_timeout_ns;
	uint64_t seed;
	const char *cpus_text;
	cpu_set_t cpus; /* of the workers: --cpus, or the inherited affinity */
	const char *json_path;
	bool quiet;
	uint64_t watch[MAX_WATCHED];
	uint32_t watch_count;
};

/* The names of an enum's values, as typed and as reported. */
extern const char *const protocol_names[],
	*const mode_names[], *const arrival_names[], *const wait_names[], *const engine_names[];

enum parsed { PARSED_RUN, PARSED_DONE, PARSED_WRONG };

/* Fills *options from the command line. PARSED_DONE: --help or --version was asked for and answered.
 * PARSED_WRONG: `why` holds one line that says what is wrong and what would be right. json_path is valid even
 * then. */
enum parsed options_parse(struct options *options, int argc, char **argv, char *why, size_t why_size);

#endif
