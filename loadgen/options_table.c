/* The table of all options, and what they are when nothing is said. Parsing, checking, --help and the record
 * read this and nothing else. */
#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "clock.h"
#include "options_parts.h"

const char *const protocol_names[] = {"echo", "greet", "http", "frame", "raw", NULL};
const char *const mode_names[] = {"closed", "open", NULL};
const char *const arrival_names[] = {"constant", "poisson", NULL};
const char *const wait_names[] = {"block", "spin", NULL};
const char *const engine_names[] = {"epoll", "io_uring", NULL};
static const char *const switch_names[] = {"off", "on", NULL};

#define AT(field) offsetof(struct options, field)
#define DAY_NS    (86400 * NS_PER_S)
#define HEADING(text)                                                                                          \
	{                                                                                                      \
		.help = text                                                                                   \
	}

const struct row options_rows[] = {
	HEADING("The target"),
	{"target", "HOST:PORT", TEXT, AT(target), 0, 0, NULL,
		"the server: HOST:PORT, [IPV6]:PORT or unix:PATH (required)"},
	{"protocol", "P", CHOICE, AT(protocol), 0, 0, protocol_names,
		"echo, greet, http, frame or raw (required)"},
	{"connections", "N", COUNT, AT(connections), 1, MAX_CONNECTIONS, NULL, "active connections (required)"},
	{"idle", "N", COUNT, AT(idle), 0, MAX_CONNECTIONS, NULL,
		"connections that are opened and stay silent [0]"},
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
	{"seed", "N", COUNT, AT(seed), 0, UINT64_MAX, NULL, "of payloads, arrivals, classes and numbers [1]"},
	HEADING("Requests and replies"),
	{"size", "BYTES", BYTES, AT(size), 0, 1 << 26, NULL,
		"echo, greet: bytes of a request; frame: of its payload [64]"},
	{"reply", "BYTES", BYTES, AT(reply), 0, 1 << 30, NULL,
		"frame: bytes of the reply's payload [64]; http: short for --path /bytes/N; raw: length of "
		"the reply, whatever its bytes"},
	{"delay", "TIME", TIME, AT(delay_ns), 0, 60 * NS_PER_S, NULL,
		"frame: the server waits before it replies [0]; http: short for --path /delay/MS"},
	{"work", "TIME", TIME, AT(work_ns), 0, NS_PER_S, NULL,
		"frame: CPU work before the reply [0]; http: short for --path /work/US"},
	{"path", "/P", TEXT, AT(path), 0, 0, NULL,
		"http: what to GET; /file/{0..9999} draws a number for each request [/]"},
	{"header", "LINE", HEADER, 0, 0, 0, NULL, "http: one more header line (repeatable)"},
	{"class", "'NAME: OPTIONS'", CLASS, 0, 0, 0, NULL,
		"frame, http, raw: one of several kinds of requests on the same connections, with figures of "
		"its own, such as 'large: --weight 1 --reply 64KiB' (repeatable)"},
	{"weight", "N", COUNT, AT(weight), 1, 1000000, NULL,
		"in a --class: its share of the requests, against the others' [1]"},
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
		"slow reader: read at most so many bytes per --read-every on each connection [all]"},
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
	{"quickack", "on|off", CHOICE, AT(quick_ack), 0, 0, switch_names,
		"TCP_QUICKACK, again after each read, for it does not last [off]"},
	{"rcvbuf", "BYTES", BYTES, AT(receive_buffer), 1, 1 << 30, NULL,
		"receive buffer of each socket [the kernel's]"},
	{"sndbuf", "BYTES", BYTES, AT(send_buffer), 1, 1 << 30, NULL,
		"send buffer of each socket [the kernel's]"},
	{"busy-poll", "TIME", TIME, AT(busy_poll_ns), NS_PER_US, NS_PER_S, NULL,
		"SO_BUSY_POLL: ask the device for so long before sleeping; none on loopback [the kernel's]"},
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
enum { ROWS = sizeof(options_rows) / sizeof(options_rows[0]) };
_Static_assert((int)ROWS <= (int)MAX_OPTIONS, "raise MAX_OPTIONS");

const size_t options_row_count = ROWS;

const struct row *options_find(const char *name, size_t length)
{
	for (size_t i = 0; i < ROWS; i++) {
		const struct row *row = &options_rows[i];
		if (row->name && strlen(row->name) == length && memcmp(row->name, name, length) == 0)
			return row;
	}
	return NULL;
}

bool options_given(const struct options *o, const char *name)
{
	const struct row *row = options_find(name, strlen(name));

	assert(row);
	return o->given[row - options_rows];
}

void options_defaults(struct options *o)
{
	memset(o, 0, sizeof(*o));
	o->protocol = UINT32_MAX;
	o->depth = o->threads = o->seed = o->weight = 1;
	o->no_delay = 1;
	o->size = 64;
	o->path = "/";
	o->warmup_ns = o->drain_ns = NS_PER_S;
	o->duration_ns = o->timeout_ns = 5 * NS_PER_S;
	o->connect_timeout_ns = 3 * NS_PER_S;
	o->probe_ns = 50 * NS_PER_MS;
	sched_getaffinity(0, sizeof(o->cpus), &o->cpus);
}

void options_reset(struct options *o, const char *name)
{
	static struct options defaults;
	const struct row *row = options_find(name, strlen(name));

	assert(row);
	options_defaults(&defaults);
	o->given[row - options_rows] = false;
	if (row->kind == OBJECTIVE)
		o->find_ppm = 0;
	else if (row->kind <= CHOICE)
		memcpy((char *)o + row->offset, (char *)&defaults + row->offset,
			row->kind == CHOICE ? sizeof(uint32_t) : sizeof(uint64_t));
}
