/* The command line of the server contract, and the answers to --describe, --help and --version. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include "conn.h"
#include "knob.h"

enum { OPTIONS_WORKERS = -1 };

struct model { /* what a page says of itself */
	const char *name;
	const char *thesis;        /* one sentence: how it waits, what that costs */
	const char *needs;         /* beyond POSIX, as "Linux 6.1"; "" if nothing */
	long clients_at_once;      /* 0: no limit but descriptors; OPTIONS_WORKERS: as many as it has workers */
	unsigned workers;          /* default of --workers; 0: it has none and the option is refused */
	unsigned protocols;        /* a bit, 1 << PROTOCOL_X, for each that it speaks; 0: all */
	bool tcp_only;             /* it has no --listen */
	const char *exceptions[4]; /* what it does otherwise than the contract asks, by the names that
				      docs/conformance.md has, as "spins" */
	struct knob *knobs;        /* of a lab page; else NULL */
};

struct options {
	const char *name;
	const char *bind;      /* numeric IPv4 or IPv6 address */
	const char *unix_path; /* NULL: TCP */
	const char *file;      /* for http's /file/N; NULL: none. It stays open until the process ends */
	unsigned port;         /* 0: the kernel chooses */
	int backlog;
	unsigned workers;
	struct core core; /* to copy into each thread's own core */
};

/* Reads the command line; every bad word of it ends the process with one line and exit status 2. */
struct options options_parse(const struct model *, int argc, char **argv);

/* Ends the process with "NAME: WHAT; try `NAME --help`" on stderr and exit status 2. */
_Noreturn void options_refuse(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* `100us`, `1ms`, `2s`, `500ns` or bare seconds, with decimals, as ns; false if it is none or over 1 hour. */
bool options_time(const char *text, uint64_t *ns);

#endif
