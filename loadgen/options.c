#include "options.h"

#include <assert.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "distribution.h"
#include "options_parts.h"
#include "parse.h"

const char *const protocol_names[] = {"echo", "greet", "http", "raw", NULL};
const char *const mode_names[] = {"closed", "open", NULL};
const char *const arrival_names[] = {"constant", "poisson", NULL};
const char *const wait_names[] = {"block", "spin", NULL};
const char *const engine_names[] = {"epoll", "io_uring", NULL};
static const char *const switch_names[] = {"off", "on", NULL};

enum kind { TEXT, COUNT, BYTES, TIME, CHOICE, CPUS, PID, PAUSE, HEADER, OBJECTIVE, POPULATION, FLAG };

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
#define HEADING(text)                                                                                          \
	{                                                                                                      \
		.help = text                                                                                   \
	}

/* The directory of all options: parsing, checking and --help read this and nothing else. */
static const struct row rows[] = {
	HEADING("The target"),
	{"target", "HOST:PORT", TEXT, AT(target), 0, 0, NULL,
		"the server: HOST:PORT, [IPV6]:PORT or unix:PATH (required)"},
	{"protocol", "P", CHOICE, AT(protocol), 0, 0, protocol_names, "echo, greet, http or raw (required)"},
	{"connections", "N", COUNT, AT(connections), 1, 1000000, NULL, "active connections (required)"},
	{"idle", "N", COUNT, AT(idle), 0, 1000000, NULL, "connections that are opened and stay silent [0]"},
	{"population", "'NAME: OPTIONS'", POPULATION, 0, 0, 0, NULL,
		"more connections with a load and figures of their own, such as 'churn: --connections 5 "
		"--per-connection 1' (repeatable)"},
	{"per-connection", "N", COUNT, AT(per_connection), 1, 1000000000, NULL,
		"close a connection after N requests; opening it is part of the first [no limit; greet: 1]"},
	HEADING("The load"),
	{"mode", "closed|open", CHOICE, AT(mode), 0, 0, mode_names,
		"closed: a reply brings the next request; open: a schedule does [closed; open with --rate]"},
	{"depth", "D", COUNT, AT(depth), 1, 65536, NULL, "requests in flight on a connection [1]"},
	{"think", "TIME", TIME, AT(think_ns), 0, DAY_NS, NULL,
		"closed: pause between reply and next request [0]"},
	{"rate", "R[,R...]", TEXT, AT(rate_text), 0, 0, NULL,
		"open: requests per second, all connections together: 10k, a ramp 10k:100k:10s, or steps "
		"10k:5s,20k:5s"},
	{"arrival", "constant|poisson", CHOICE, AT(arrival), 0, 0, arrival_names, "open: [constant]"},
	{"find-rate", "Q=TIME", OBJECTIVE, 0, 0, 0, NULL,
		"search the highest rate at which e.g. p99=2ms holds, from the intended time"},
	{"shed", "TIME", TIME, AT(shed_ns), NS_PER_US, DAY_NS, NULL,
		"open: drop requests that waited longer than this for a connection [never]"},
	{"seed", "N", COUNT, AT(seed), 0, UINT64_MAX, NULL, "of payloads and arrivals [1]"},
	HEADING("Requests and replies"),
	{"size", "BYTES", BYTES, AT(size), 1, 1 << 26, NULL, "echo, greet: bytes of a request [64]"},
	{"path", "/P", TEXT, AT(path), 0, 0, NULL, "http: what to GET [/]"},
	{"header", "LINE", HEADER, 0, 0, 0, NULL, "http: one more header line (repeatable)"},
	{"delay", "TIME", TIME, AT(delay_ns), NS_PER_MS, 60 * NS_PER_S, NULL,
		"http: short for --path /delay/MS"},
	{"work", "TIME", TIME, AT(work_ns), NS_PER_US, NS_PER_S, NULL, "http: short for --path /work/US"},
	{"reply", "BYTES", BYTES, AT(reply), 1, 1 << 30, NULL,
		"http: short for --path /bytes/N; raw: length of the reply, whatever its bytes"},
	{"send", "TEXT|@FILE", TEXT, AT(send), 0, 0, NULL,
		"raw: the request; \\r \\n \\t \\0 \\xHH are understood"},
	{"expect", "TEXT|@FILE", TEXT, AT(expect), 0, 0, NULL,
		"raw: the whole reply; http: its body [learned from one request before the load]"},
	{"until", "TEXT|@FILE", TEXT, AT(until), 0, 0, NULL, "raw: the reply ends with these bytes"},
	{"expect-status", "N", COUNT, AT(expect_status), 100, 599, NULL,
		"http: [learned, any 2xx; 200 with --expect]"},
	{"send-part", "BYTES", BYTES, AT(send_part), 1, 65536, NULL,
		"write requests in parts of so many bytes [whole]"},
	{"send-every", "TIME", TIME, AT(send_every_ns), 0, DAY_NS, NULL, "pause between these parts [0]"},
	{"read-part", "BYTES", BYTES, AT(read_part), 1, 65536, NULL,
		"slow reader: read at most so many bytes per --read-every on each connection (epoll) [all]"},
	{"read-every", "TIME", TIME, AT(read_every_ns), NS_PER_US, DAY_NS, NULL, "pause between these reads"},
	HEADING("Time"),
	{"warmup", "TIME", TIME, AT(warmup_ns), 0, DAY_NS, NULL, "load before the measured window [1s]"},
	{"duration", "TIME", TIME, AT(duration_ns), NS_PER_MS, DAY_NS, NULL,
		"the measured window [5s, or the length of --rate]"},
	{"drain", "TIME", TIME, AT(drain_ns), 0, DAY_NS, NULL,
		"wait at most this long for the last replies [1s more than --delay]"},
	{"timeout", "TIME", TIME, AT(timeout_ns), NS_PER_MS, DAY_NS, NULL,
		"a request fails after this long [5s]"},
	{"connect-timeout", "TIME", TIME, AT(connect_timeout_ns), NS_PER_MS, DAY_NS, NULL,
		"a connect fails after this long [3s]"},
	{"probe", "TIME", TIME, AT(probe_ns), 0, 60 * NS_PER_S, NULL,
		"watch how much this host stutters for this long before the load [50ms]"},
	HEADING("The instrument"),
	{"engine", "epoll|io_uring", CHOICE, AT(engine), 0, 0, engine_names, "[epoll]"},
	{"wait", "spin|block", CHOICE, AT(wait), 0, 0, wait_names,
		"spin: never sleep, so that the server does not pay for waking this side [block]"},
	{"threads", "N", COUNT, AT(threads), 1, 1024, NULL, "[1]"},
	{"cpus", "LIST", CPUS, AT(cpus_text), 0, 0, NULL,
		"pin thread i to the i-th CPU of this list [not pinned]"},
	{"nodelay", "on|off", CHOICE, AT(no_delay), 0, 0, switch_names, "TCP_NODELAY on this side [on]"},
	{"rcvbuf", "BYTES", BYTES, AT(receive_buffer), 1, 1 << 30, NULL,
		"receive buffer of each socket [the kernel's]"},
	{"sources", "N", COUNT, AT(sources), 1, 254, NULL,
		"rotate over N local addresses 127.0.1.x [1; 16 where connections are opened per request]"},
	{"watch", "PID", PID, 0, 0, 0, NULL, "report this process's CPU time in the window (repeatable)"},
	{"pause", "PID@AT+FOR", PAUSE, 0, 0, 0, NULL,
		"stop this process AT (such as 5s) into the window FOR (such as 1s), then resume it "
		"(repeatable)"},
	HEADING("Results"),
	{"json", "FILE|-", TEXT, AT(json_path), 0, 0, NULL,
		"the whole result; -: stdout, and the summary goes to stderr"},
	{"hgrm", "FILE", TEXT, AT(hgrm_path), 0, 0, NULL, "percentiles as HdrHistogram's plotter reads them"},
	{"timeline", "FILE", TEXT, AT(timeline_path), 0, 0, NULL,
		"one JSON line per second, written as it runs"},
	{"quiet", NULL, FLAG, AT(quiet), 0, 0, NULL, "no summary and no progress"},
};
enum { ROWS = sizeof(rows) / sizeof(rows[0]) };
_Static_assert((int)ROWS <= (int)MAX_OPTIONS, "raise MAX_OPTIONS");

bool options_wrong(char *why, size_t size, const char *format, ...)
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
	return options_wrong(why, size, "--%s %s: not known here; known are %s", row->name, text, all);
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
		return options_wrong(why, size, "--%s %s: expected %s", row->name, text, examples[row->kind]);
	if (value < row->min || value > row->max)
		return options_wrong(why, size, "--%s %s: expected %s from %llu to %llu", row->name, text,
			row->kind == TIME ? "nanoseconds" : "a number", (unsigned long long)row->min,
			(unsigned long long)row->max);
	*field = value;
	return true;
}

static bool add_pid(struct options *o, const char *text, char *why, size_t size)
{
	uint64_t pid;

	if (!parse_count(text, &pid) || pid < 1 || pid > 1 << 22)
		return options_wrong(why, size, "--watch %s: expected the number of a process", text);
	if (o->watch_count == MAX_WATCHED)
		return options_wrong(
			why, size, "--watch %s: at most %d processes can be watched", text, MAX_WATCHED);
	o->watch[o->watch_count++] = pid;
	return true;
}

/* PID@AT+FOR */
static bool add_pause(struct options *o, const char *text, char *why, size_t size)
{
	char pid[32], at[32], length[32];
	struct pause p;

	bool fine = sscanf(text, "%31[^@]@%31[^+]+%31s", pid, at, length) == 3 && parse_count(pid, &p.pid) &&
		    p.pid > 1 && p.pid <= 1 << 22 && parse_time_ns(at, &p.at_ns) &&
		    parse_time_ns(length, &p.length_ns);
	if (!fine)
		return options_wrong(why, size, "--pause %s: expected PID@AT+FOR, such as 4711@5s+1s", text);
	if (o->pause_count == MAX_PAUSES)
		return options_wrong(why, size, "--pause %s: at most %d are possible", text, MAX_PAUSES);
	o->pauses[o->pause_count++] = p;
	return true;
}

/* p99=2ms */
static bool set_objective(struct options *o, const char *text, char *why, size_t size)
{
	char quantile[16], limit[32];

	if (sscanf(text, "%15[^=]=%31s", quantile, limit) == 2) {
		o->find_ppm = distribution_ppm(quantile);
		if (o->find_ppm && parse_time_ns(limit, &o->find_ns) && o->find_ns > 0)
			return true;
	}
	return options_wrong(why, size,
		"--find-rate %s: expected one of p50 p75 p90 p95 p99 p999 p9999, and a time, such as p99=2ms",
		text);
}

static bool add_header(struct options *o, const char *text, char *why, size_t size)
{
	const char *colon = strchr(text, ':');

	if (!colon || colon == text || strpbrk(text, "\r\n"))
		return options_wrong(
			why, size, "--header '%s': expected one line such as 'Accept: text/plain'", text);
	if (o->header_count == MAX_HEADERS)
		return options_wrong(why, size, "--header '%s': at most %d are possible", text, MAX_HEADERS);
	o->headers[o->header_count++] = text;
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
			return options_wrong(why, size, "--cpus %s: expected a list such as 0,2-5", text);
		return true;
	case PID:
		return add_pid(o, text, why, size);
	case PAUSE:
		return add_pause(o, text, why, size);
	case POPULATION:
		if (o->population_count == MAX_POPULATIONS)
			return options_wrong(
				why, size, "--population: at most %d are possible", MAX_POPULATIONS);
		o->population_texts[o->population_count++] = text;
		return true;
	case OBJECTIVE:
		return set_objective(o, text, why, size);
	case HEADER:
		return add_header(o, text, why, size);
	case FLAG:
		*(bool *)field = true;
		return true;
	}
	return false;
}

static const struct row *find(const char *name, size_t length)
{
	for (size_t i = 0; i < ROWS; i++) {
		if (rows[i].name && strlen(rows[i].name) == length && memcmp(rows[i].name, name, length) == 0)
			return &rows[i];
	}
	return NULL;
}

bool options_given(const struct options *o, const char *name)
{
	const struct row *row = find(name, strlen(name));

	assert(row);
	return o->given[row - rows];
}

static void print_help(void)
{
	puts("loadgen: drives a server, checks every reply, and measures.\n\n"
	     "usage: loadgen --target HOST:PORT --protocol P --connections N [options]\n\n"
	     "  loadgen --target 127.0.0.1:8080 --protocol http --connections 50\n"
	     "      as fast as 50 connections go, for 5 seconds\n"
	     "  loadgen --target 127.0.0.1:8080 --protocol http --connections 50 --rate 20k --arrival poisson\n"
	     "      20,000 requests per second, and latency from the moment each was due\n"
	     "  loadgen --target 127.0.0.1:6379 --protocol raw --connections 50 --send 'PING\\r\\n' --expect "
	     "'+PONG\\r\\n'\n"
	     "      any protocol with fixed requests and replies");
	for (size_t i = 0; i < ROWS; i++) {
		char left[64];
		if (!rows[i].name) {
			printf("\n%s\n", rows[i].help);
			continue;
		}
		snprintf(left, sizeof(left), "--%s %s", rows[i].name, rows[i].argument ? rows[i].argument : "");
		printf("  %-28s %s\n", left, rows[i].help);
	}
	puts("\nTIME is 500ns, 100us, 1.5ms, 2s or 1m; a bare number is seconds. Rates and counts may end in k "
	     "or M.\n"
	     "Exit status: 0 good, 1 requests or connections failed, 2 usage, 3 the run is not valid (the "
	     "reasons say why).");
}

static void set_defaults(struct options *o)
{
	memset(o, 0, sizeof(*o));
	o->protocol = UINT32_MAX;
	o->depth = o->threads = o->seed = 1;
	o->no_delay = 1;
	o->size = 64;
	o->path = "/";
	o->warmup_ns = o->drain_ns = NS_PER_S;
	o->duration_ns = o->timeout_ns = 5 * NS_PER_S;
	o->connect_timeout_ns = 3 * NS_PER_S;
	o->probe_ns = 50 * NS_PER_MS;
	sched_getaffinity(0, sizeof(o->cpus), &o->cpus);
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

bool options_read(struct options *o, int count, char **words, char *why, size_t size)
{
	for (int i = 0; i < count; i++) {
		const char *word = words[i], *equals = strchr(word, '=');
		const struct row *row = NULL;
		if (strncmp(word, "--", 2) == 0)
			row = find(word + 2, equals ? (size_t)(equals - word - 2) : strlen(word + 2));
		if (!row)
			return options_wrong(
				why, size, "%s: no such option; `loadgen --help` lists them", word);
		const char *value = row->kind == FLAG ? ""
				    : equals          ? equals + 1
				    : ++i < count     ? words[i]
						      : NULL;
		if (!value)
			return options_wrong(
				why, size, "--%s: its value is missing (%s)", row->name, row->argument);
		if (!set(row, o, value, why, size))
			return false;
		o->given[row - rows] = true;
	}
	return true;
}

void options_reset(struct options *o, const char *name)
{
	static struct options defaults;
	const struct row *row = find(name, strlen(name));

	assert(row);
	set_defaults(&defaults);
	o->given[row - rows] = false;
	if (row->kind == OBJECTIVE)
		o->find_ppm = 0;
	else if (row->kind != HEADER)
		memcpy((char *)o + row->offset, (char *)&defaults + row->offset,
			row->kind == CHOICE ? sizeof(uint32_t) : sizeof(uint64_t));
}

/* --help and --version are answered wherever they stand. True: one of them was asked for. */
static bool answer_questions(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0) {
			print_help();
			return true;
		}
		if (strcmp(argv[i], "--version") == 0) {
			puts("loadgen (muxbench) 1");
			return true;
		}
	}
	return false;
}

enum parsed options_parse(struct options *o, int argc, char **argv, char *why, size_t size)
{
	set_defaults(o);
	find_json(o, argc, argv);
	if (answer_questions(argc, argv))
		return PARSED_DONE;
	bool fine = options_read(o, argc - 1, argv + 1, why, size) && options_check(o, why, size) &&
		    options_populations(o, why, size);
	return fine ? PARSED_RUN : PARSED_WRONG;
}

/* The value of one option; NULL for those that are reported elsewhere. */
static json_t *value_json(const struct row *row, const struct options *o)
{
	const void *field = (const char *)o + row->offset;

	switch (row->kind) {
	case TEXT:
	case CPUS:
		return *(const char *const *)field ? json_string(*(const char *const *)field) : json_null();
	case COUNT:
	case BYTES:
	case TIME:
		return json_integer((json_int_t) * (const uint64_t *)field);
	case CHOICE:
		return json_string(row->choices[*(const uint32_t *)field]);
	default:
		return NULL;
	}
}

json_t *options_json(const struct options *o)
{
	json_t *object = json_object();

	for (size_t i = 0; i < ROWS; i++) {
		json_t *value = rows[i].name ? value_json(&rows[i], o) : NULL;
		char name[64];
		if (!value)
			continue;
		snprintf(name, sizeof(name), "%s%s", rows[i].name, rows[i].kind == TIME ? "_ns" : "");
		for (char *at = name; *at; at++)
			*at = *at == '-' ? '_' : *at;
		json_object_set_new(object, name, value);
	}
	return object;
}
