/* The command line: what the run shall be. Parsed once, then read-only. */
#ifndef LOADGEN_OPTIONS_H
#define LOADGEN_OPTIONS_H

#include <jansson.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schedule.h"

enum mode { MODE_CLOSED, MODE_OPEN };
enum arrival { ARRIVAL_CONSTANT, ARRIVAL_POISSON };
enum wait { WAIT_BLOCK, WAIT_SPIN };
enum engine_name { ENGINE_EPOLL, ENGINE_IO_URING };
enum protocol_name { PROTOCOL_ECHO, PROTOCOL_GREET, PROTOCOL_HTTP, PROTOCOL_RAW };

enum { MAX_WATCHED = 16, MAX_HEADERS = 16, MAX_OPTIONS = 64, MAX_PAUSES = 16, MAX_POPULATIONS = 8 };

/* Stop process `pid` for length_ns, at_ns after the window begins. */
struct pause {
	uint64_t pid, at_ns, length_ns;
};

struct options {
	const char *name; /* of a population; NULL: the main load */
	const char *target;
	uint32_t protocol, mode, arrival, wait, engine; /* the enums above */
	uint64_t connections, idle, depth, threads;
	uint64_t per_connection; /* requests before a connection is closed; 0: no limit */
	uint64_t size, reply, sources, receive_buffer;
	bool reply_given;
	uint64_t send_part,
		send_every_ns; /* requests leave in parts of so many bytes, with this pause between them */
	uint64_t read_part, read_every_ns; /* at most so many bytes are read per pause */
	uint64_t think_ns, shed_ns, delay_ns, work_ns, probe_ns;
	const char *rate_text;
	struct profile rate;
	uint32_t find_ppm; /* --find-rate: this quantile, in millionths; 0: no search */
	uint64_t find_ns;  /* ... is to stay within this */
	const char *path, *expect, *send, *until;
	char short_path[64]; /* what path points to where --delay, --work or --reply chose it */
	const char *headers[MAX_HEADERS];
	uint32_t header_count;
	uint64_t expect_status;
	uint32_t no_delay;
	uint64_t warmup_ns, duration_ns, drain_ns; /* the phases */
	uint64_t timeout_ns, connect_timeout_ns;
	uint64_t seed;
	const char *cpus_text;
	cpu_set_t cpus; /* of the workers: --cpus, or the inherited affinity */
	const char *json_path, *timeline_path, *hgrm_path;
	bool quiet;
	uint64_t watch[MAX_WATCHED];
	uint32_t watch_count;
	struct pause pauses[MAX_PAUSES];
	uint32_t pause_count;
	const char *population_texts[MAX_POPULATIONS];
	struct options *populations[MAX_POPULATIONS];
	char *words; /* of a population: what its texts point into */
	uint32_t population_count;
	bool given[MAX_OPTIONS]; /* by place in the table of options.c; ask options_given() */
};

/* The names of an enum's values, as typed and as reported. */
extern const char *const protocol_names[],
	*const mode_names[], *const arrival_names[], *const wait_names[], *const engine_names[];

enum parsed { PARSED_RUN, PARSED_DONE, PARSED_WRONG };

/* Fills *options from the command line. PARSED_DONE: --help or --version was asked for and answered.
 * PARSED_WRONG: `why` holds one line that says what is wrong and what would be right. json_path is valid even
 * then. */
enum parsed options_parse(struct options *options, int argc, char **argv, char *why, size_t why_size);

/* Frees the populations. */
void options_free(struct options *options);

bool options_given(const struct options *options, const char *name);

/* All options with a value, by name (dashes become underscores, times end in _ns). A new reference. */
json_t *options_json(const struct options *options);

/* Contradictions and omissions; fills in what follows from other options. False: `why` in one line. */
bool options_check(struct options *options, char *why, size_t why_size);

struct target;

/* Are there enough file descriptors and local ports? Chooses target->sources. False: `why` with the number that
 * would work. The limit on descriptors must have been raised already. */
bool options_limits(const struct options *options, struct target *target, char *why, size_t why_size);

/* Writes one line into `why`; always false, so that a check can end with it. */
bool options_wrong(char *why, size_t why_size, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
