/* How a request can end. Every scheduled request ends in exactly one class; the sum is checked in every run. */
#ifndef LOADGEN_CLASSES_H
#define LOADGEN_CLASSES_H

#include "proto.h"

enum class {
	CLASS_OK,
	/* no error of anybody, but no reply either */
	CLASS_SHED,         /* dropped by the generator: it had waited longer than --shed */
	CLASS_INFLIGHT_END, /* sent, unanswered when the drain ended */
	CLASS_NEVER_SENT,   /* due inside the window, still queued when the drain ended */
	/* errors */
	CLASS_CONNECT_REFUSED,
	CLASS_CONNECT_TIMEOUT,
	CLASS_RESET,
	CLASS_EARLY_EOF, /* closed before the first byte of the reply */
	CLASS_SHORT,     /* closed inside the reply */
	CLASS_LONG,      /* bytes behind the reply that nobody asked for */
	CLASS_MISMATCH,
	CLASS_ORDER,     /* the reply of another request in flight on this connection */
	CLASS_DUPLICATE, /* a reply that had been given before */
	CLASS_FOREIGN,   /* the reply of another connection's request */
	CLASS_STATUS,    /* http: another status than expected */
	CLASS_TOO_SOON,  /* the right reply, before the delay that the server was asked to wait */
	CLASS_TIMEOUT,
	CLASS_ADDR_UNAVAILABLE, /* no local port left */
	CLASS_EMFILE,           /* no file descriptor left */
	CLASS_SEND,             /* the send failed, other than by a reset */
	CLASS_COUNT,
	CLASS_FIRST_ERROR = CLASS_CONNECT_REFUSED,
};

extern const char *const class_names[CLASS_COUNT];

/* The class of a request whose connect, or whose open connection, failed with this errno. */
enum class class_of_connect_errno(int error);
enum class class_of_io_errno(int error);

/* The class of a complete reply. */
enum class class_of_verdict(enum verdict verdict);

#endif
