/* How a request can end. Every scheduled request ends in exactly one outcome; the sum is checked in every run.
 */
#ifndef LOADGEN_OUTCOME_H
#define LOADGEN_OUTCOME_H

#include "proto.h"

enum outcome {
	OUTCOME_OK,
	/* no error of anybody, but no reply either */
	OUTCOME_SHED,         /* dropped by the generator: it had waited longer than --shed */
	OUTCOME_INFLIGHT_END, /* sent, unanswered when the drain ended */
	OUTCOME_NEVER_SENT,   /* due inside the window, still queued when the drain ended */
	/* errors */
	OUTCOME_CONNECT_REFUSED,
	OUTCOME_CONNECT_TIMEOUT,
	OUTCOME_RESET,
	OUTCOME_EARLY_EOF, /* closed before the first byte of the reply */
	OUTCOME_SHORT,     /* closed inside the reply */
	OUTCOME_LONG,      /* bytes behind the reply that nobody asked for */
	OUTCOME_MISMATCH,
	OUTCOME_ORDER,     /* the reply of another request in flight on this connection */
	OUTCOME_DUPLICATE, /* a reply that had been given before */
	OUTCOME_FOREIGN,   /* the reply of another connection's request */
	OUTCOME_STATUS,    /* http: another status than expected */
	OUTCOME_TOO_SOON,  /* the right reply, before the delay that the server was asked to wait */
	OUTCOME_TIMEOUT,
	OUTCOME_ADDR_UNAVAILABLE, /* no local port left */
	OUTCOME_EMFILE,           /* no file descriptor left */
	OUTCOME_SEND,             /* the send failed, other than by a reset */
	OUTCOME_COUNT,
	OUTCOME_FIRST_ERROR = OUTCOME_CONNECT_REFUSED,
};

extern const char *const outcome_names[OUTCOME_COUNT];

/* The outcome of a request whose connect, or whose open connection, failed with this errno. */
enum outcome outcome_of_connect_errno(int error);
enum outcome outcome_of_io_errno(int error);

/* The outcome of a complete reply. */
enum outcome outcome_of_verdict(enum verdict verdict);

#endif
