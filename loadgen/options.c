#include "options.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "parse.h"

const char *const protocol_names[] = {"echo", NULL};
const char *const mode_names[] = {"closed", "open", NULL};
const char *const arrival_names[] = {"constant", "poisson", NULL};
const char *const wait_names[] = {"block", "spin", NULL};
const char *const engine_names[] = {"epoll", "io_uring", NULL};

enum kind { TEXT, COUNT, BYTES, TIME, CHOICE, CPUS, PID, FLAG };

struct row {
	const char *name, *argument;
	enum kind kind;
	size_t offset;
	uint64_t min, max; /* COUNT and BYTES; TIME in ns */
	const char *const *choices;
	const char *help;
};

#define AT(field) offsetof(struct options, field)
#define DAY_NS    (86400 * NS_PER_S)

/* The directory of all options: parsing, checking and --help read this and nothing else. */
static const struct row rows[] = {
	{"target", "HOST:PORT", TEXT, AT(target), 0, 0, NULL, "the server (required)"},
	{"protocol", "P", CHOICE, AT(protocol), 0, 0, protocol_names, "what to speak (required): echo"},
	{"connections", "N", COUNT, AT(connections), 1, 1000000, NULL, "active connections (required)"},
	{"idle", "N", COUNT, AT(idle), 0, 1000000, NULL, "connections that are opened and stay silent [0]"},
	{"mode", "closed|open", CHOICE, AT(mode), 0, 0, mode_names, "[closed]"},
	{"depth", "D", COUNT, AT(depth), 1, 65536, NULL, "requests in flight on a connection [1]"},
	{"size", "BYTES", BYTES, AT(size), 1, 1 << 26, NULL, "bytes of a request [64]"},
	{"warmup", "TIME", TIME, AT(warmup_ns), 0, DAY_NS, NULL, "load before the measured window [1s]"},
	{"duration", "TIME", TIME, AT(duration_ns), NS_PER_MS, DAY_NS, NULL, "the measured window [5s]"},
	{"drain", "TIME", TIME, AT(drain_ns), 0, DAY_NS, NULL,
		"wait at most this long for the last replies [1s]"},
	{"timeout", "TIME", TIME, AT(timeout_ns), NS_PER_MS, DAY_NS, NULL,
		"a request fails after this long [5s]"},
	{"connect-timeout", "TIME", TIME, AT(connect_timeout_ns), NS_PER_MS, DAY_NS, NULL,
		"a connect fails after this long [3s]"},
	{"seed", "N", COUNT, AT(seed), 0, UINT64_MAX, NULL, "of payloads and arrivals [1]"},
	{"engine", "epoll|io_uring", CHOICE, AT(engine), 0, 0, engine_names, "[epoll]"},
	{"wait", "spin|block", CHOICE, AT(wait), 0, 0, wait_names, "how to wait for replies [block]"},
	{"threads", "N", COUNT, AT(threads), 1, 1024, NULL, "[1]"},
	{"cpus", "LIST", CPUS, AT(cpus_text), 0, 0, NULL, "pin thread i to the i-th CPU of this list"},
	{"watch", "PID", PID, 0, 0, 0, NULL, "report this process's CPU time in the window (repeatable)"},
	{"json", "FILE|-", TEXT, AT(json_path), 0, 0, NULL, "write the whole result there"},
	{"quiet", NULL, FLAG, AT(quiet), 0, 0, NULL, "no summary"},
};
enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

static bool wrong(char *why, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));

static bool wrong(char *why, size_t size, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, size, format, args);
	va_end(args);
	return false;
}

static void list_choices(const char *const *choices, char *out, size_t size)
{
	size_t used = 0;

	out[0] = '\0';
	for (; *choices && used < size; choices++)
		used += (size_t)snprintf(out + used, size - used, "%s%s", used ? ", " : "", *choices);
}

static bool set_choice(const struct row *row, const char *text, uint32_t *field, char *why, size_t size)
{
	char all[128];

	for (uint32_t i = 0; row->choices[i]; i++) {
		if (strcmp(row->choices[i], text) == 0) {
			*field = i;
			return true;
		}
	}
	list_choices(row->choices, all, sizeof(all));
	return wrong(why, size, "--%s %s: not known here; known are %s", row->name, text, all);
}

static bool set_number(const struct row *row, const char *text, uint64_t *field, char *why, size_t size)
{
	static const char *const examples[] = {[COUNT] = "a whole number such as 100 or 10k",
		[BYTES] = "a number of bytes such as 64 or 16KiB",
		[TIME] = "a time such as 100us, 1.5ms or 2s"};
	bool (*parse)(const char *, uint64_t *) = row->kind == COUNT   ? parse_count
						  : row->kind == BYTES ? parse_bytes
								       : parse_time_ns;
	uint64_t value;

	if (!parse(text, &value))
		return wrong(why, size, "--%s %s: expected %s", row->name, text, examples[row->kind]);
	if (value < row->min || value > row->max)
		return wrong(why, size, "--%s %s: expected %s from %llu to %llu", row->name, text,
			row->kind == TIME ? "nanoseconds" : "a number", (unsigned long long)row->min,
			(unsigned long long)row->max);
	*field = value;
	return true;
}

static bool add_pid(struct options *o, const char *text, char *why, size_t size)
{
	uint64_t pid;

	if (!parse_count(text, &pid) || pid < 1 || pid > 1 << 22)
		return wrong(why, size, "--watch %s: expected the number of a process", text);
	if (o->watch_count == MAX_WATCHED)
		return wrong(why, size, "--watch %s: at most %d processes can be watched", text, MAX_WATCHED);
	o->watch[o->watch_count++] = pid;
	return true;
}

static bool set(const struct row *row, struct options *o, const char *text, char *why, size_t size)
{
	void *field = (char *)o + row->offset;

	switch (row->kind) {
	case TEXT:
		*(const char **)field = text;
		return true;
	case COUNT:
	case BYTES:
	case TIME:
		return set_number(row, text, field, why, size);
	case CHOICE:
		return set_choice(row, text, field, why, size);
	case CPUS:
		o->cpus_text = text;
		if (!parse_cpus(text, &o->cpus))
			return wrong(why, size, "--cpus %s: expected a list such as 0,2-5", text);
		return true;
	case PID:
		return add_pid(o, text, why, size);
	case FLAG:
		*(bool *)field = true;
		return true;
	}
	return false;
}

static const struct row *find(const char *name, size_t length)
{
	for (size_t i = 0; i < ROWS; i++) {
		if (strlen(rows[i].name) == length && memcmp(rows[i].name, name, length) == 0)
			return &rows[i];
	}
	return NULL;
}

static void print_help(void)
{
	puts("loadgen: drives a server and measures it.\n\n"
	     "usage: loadgen --target HOST:PORT --protocol P --connections N [options]\n");
	for (size_t i = 0; i < ROWS; i++) {
		char left[64];
		snprintf(left, sizeof(left), "--%s %s", rows[i].name, rows[i].argument ? rows[i].argument : "");
		printf("  %-26s %s\n", left, rows[i].help);
	}
	puts("\nTIME is 500ns, 100us, 1.5ms, 2s; a bare number is seconds.\n"
	     "exit status: 0 good, 1 requests failed, 2 usage, 3 the run is not valid");
}

static void set_defaults(struct options *o)
{
	memset(o, 0, sizeof(*o));
	o->protocol = o->mode = o->wait = o->engine = 0;
	o->protocol = UINT32_MAX;
	o->depth = o->threads = o->seed = 1;
	o->size = 64;
	o->warmup_ns = o->drain_ns = NS_PER_S;
	o->duration_ns = o->timeout_ns = 5 * NS_PER_S;
	o->connect_timeout_ns = 3 * NS_PER_S;
	sched_getaffinity(0, sizeof(o->cpus), &o->cpus);
}

static bool check(const struct options *o, char *why, size_t size)
{
	if (!o->target)
		return wrong(
			why, size, "--target is missing: give the server's address, such as 127.0.0.1:8080");
	if (o->protocol == UINT32_MAX)
		return wrong(why, size, "--protocol is missing: give what the server speaks, such as echo");
	if (o->connections == 0)
		return wrong(why, size, "--connections is missing: give how many, such as 50");
	if (o->threads > o->connections)
		return wrong(why, size,
			"--threads %llu: more than --connections %llu; at most one thread per connection",
			(unsigned long long)o->threads, (unsigned long long)o->connections);
	if (o->mode == MODE_OPEN || o->engine == ENGINE_IO_URING)
		return wrong(why, size, "--mode open and --engine io_uring: not built in yet");
	return true;
}

/* Finds --json first, so that even a wrong command line is answered in JSON where that was asked for. */
static void find_json(struct options *o, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0 && i + 1 < argc)
			o->json_path = argv[i + 1];
		else if (strncmp(argv[i], "--json=", 7) == 0)
			o->json_path = argv[i] + 7;
	}
}

enum parsed options_parse(struct options *o, int argc, char **argv, char *why, size_t size)
{
	set_defaults(o);
	find_json(o, argc, argv);
	for (int i = 1; i < argc; i++) {
		const char *arg = argv[i], *equals = strchr(arg, '=');
		if (strcmp(arg, "--help") == 0) {
			print_help();
			return PARSED_DONE;
		}
		if (strcmp(arg, "--version") == 0) {
			puts("loadgen (muxbench) 1");
			return PARSED_DONE;
		}
		const struct row *row = NULL;
		if (strncmp(arg, "--", 2) == 0)
			row = find(arg + 2, equals ? (size_t)(equals - arg - 2) : strlen(arg + 2));
		if (!row) {
			wrong(why, size, "%s: no such option; `loadgen --help` lists them", arg);
			return PARSED_WRONG;
		}
		const char *value = row->kind == FLAG ? "" : equals ? equals + 1 : argv[++i];
		if (!value) {
			wrong(why, size, "--%s: its value is missing (%s)", row->name, row->argument);
			return PARSED_WRONG;
		}
		if (!set(row, o, value, why, size))
			return PARSED_WRONG;
	}
	return check(o, why, size) ? PARSED_RUN : PARSED_WRONG;
}
