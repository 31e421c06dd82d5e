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
enum protocol_name { PROTOCOL_ECHO, PROTOCOL_GREET, PROTOCOL_HTTP, PROTOCOL_FRAME, PROTOCOL_RAW };

enum {
	MAX_WATCHED = 64,
	MAX_HEADERS = 16,
	MAX_OPTIONS = 72,
	MAX_PAUSES = 16,
	MAX_POPULATIONS = 8,
	MAX_CLASSES = 8,
	MAX_NAME = 40, /* of a population or a class */
	MAX_CONNECTIONS = 1000000,
	MAX_FRAME_REPLY = 1 << 24, /* bytes */
};

/* One range of numbers in a path, as in /file/{0..9999}: of each request's path, one of them is drawn. */
struct numbers {
	bool any;
	uint32_t first, last;
	uint32_t at, end; /* the braces: where in the path they begin, and end */
};

/* Stop process `pid` for length_ns, at_ns after the window begins. */
struct pause {
	uint64_t pid, at_ns, length_ns;
};

struct options {
	const char *name; /* of a population or a class; NULL: the main load */
	bool is_class;
	const char *target;
	uint32_t protocol, mode, arrival, wait, engine; /* the enums above */
	uint64_t connections, idle, depth, threads;
	uint64_t per_connection; /* requests before a connection is closed; 0: no limit */
	uint64_t size, reply, sources, receive_buffer, send_buffer, busy_poll_ns;
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
	struct numbers numbers; /* in path */
	char short_path[64];    /* what path points to where --delay, --work or --reply chose it */
	const char *headers[MAX_HEADERS];
	uint32_t header_count;
	uint64_t expect_status;
	uint32_t no_delay, quick_ack;
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
	uint32_t population_count, class_count; /* the options of each, made from the texts */
	const char *population_texts[MAX_POPULATIONS], *class_texts[MAX_CLASSES];
	struct options *populations[MAX_POPULATIONS], *classes[MAX_CLASSES];
	uint64_t weight;         /* of a class */
	char *words;             /* of a population or a class: what its texts point into */
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

/* Frees the populations and the classes. */
void options_free(struct options *options);

/* The classes of a load's requests. Where none are given there is one, of the load's own options. */
uint32_t options_class_count(const struct options *load);
const struct options *options_class(const struct options *load, uint32_t i);

bool options_given(const struct options *options, const char *name);

/* All options with a value, by name (dashes become underscores, times end in _ns); of a class, those it can
 * choose. A new reference. */
json_t *options_json(const struct options *options);

/* Contradictions and omissions; fills in what follows from other options. False: `why` in one line. */
bool options_check(struct options *options, char *why, size_t why_size);

struct target;

/* Are there enough file descriptors and local ports, and can the connections carry the rate? Chooses
 * target->sources. False: `why` with the number that would work. The limit on descriptors must have been raised
 * already. */
bool options_limits(const struct options *options, struct target *target, char *why, size_t why_size);

/* Writes one line into `why`; always false, so that a check can end with it. */
bool options_wrong(char *why, size_t why_size, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
