#include "outcome.h"

#include <assert.h>
#include <errno.h>

const char *const outcome_names[OUTCOME_COUNT] = {
	[OUTCOME_OK] = "ok",
	[OUTCOME_SHED] = "shed",
	[OUTCOME_INFLIGHT_END] = "inflight_end",
	[OUTCOME_NEVER_SENT] = "never_sent",
	[OUTCOME_CONNECT_REFUSED] = "connect_refused",
	[OUTCOME_CONNECT_TIMEOUT] = "connect_timeout",
	[OUTCOME_RESET] = "reset",
	[OUTCOME_EARLY_EOF] = "early_eof",
	[OUTCOME_SHORT] = "short",
	[OUTCOME_LONG] = "long",
	[OUTCOME_MISMATCH] = "mismatch",
	[OUTCOME_ORDER] = "order",
	[OUTCOME_DUPLICATE] = "duplicate",
	[OUTCOME_FOREIGN] = "foreign",
	[OUTCOME_STATUS] = "status",
	[OUTCOME_TOO_SOON] = "too_soon",
	[OUTCOME_TIMEOUT] = "timeout",
	[OUTCOME_ADDR_UNAVAILABLE] = "addr_unavailable",
	[OUTCOME_EMFILE] = "emfile",
	[OUTCOME_SEND] = "send",
};

enum outcome outcome_of_connect_errno(int error)
{
	switch (error) {
	case ETIMEDOUT:
		return OUTCOME_CONNECT_TIMEOUT;
	case EADDRNOTAVAIL:
	case EADDRINUSE:
		return OUTCOME_ADDR_UNAVAILABLE;
	case EMFILE:
	case ENFILE:
	case ENOMEM:
	case ENOBUFS:
		return OUTCOME_EMFILE;
	case ECONNRESET:
	case EPIPE:
		return OUTCOME_RESET;
	default: /* refused, unreachable, no such socket file; EAGAIN: a Unix listener whose queue is full */
		return OUTCOME_CONNECT_REFUSED;
	}
}

enum outcome outcome_of_io_errno(int error)
{
	switch (error) {
	case ECONNRESET:
	case EPIPE:
		return OUTCOME_RESET;
	case ETIMEDOUT:
		return OUTCOME_TIMEOUT;
	default:
		return OUTCOME_SEND;
	}
}

enum outcome outcome_of_verdict(enum verdict verdict)
{
	static const enum outcome outcomes[] = {
		[VERDICT_OK] = OUTCOME_OK,
		[VERDICT_MISMATCH] = OUTCOME_MISMATCH,
		[VERDICT_ORDER] = OUTCOME_ORDER,
		[VERDICT_FOREIGN] = OUTCOME_FOREIGN,
		[VERDICT_STATUS] = OUTCOME_STATUS,
		[VERDICT_SHORT] = OUTCOME_SHORT,
		[VERDICT_LONG] = OUTCOME_LONG,
		[VERDICT_DUPLICATE] = OUTCOME_DUPLICATE,
		[VERDICT_MALFORMED] = OUTCOME_MISMATCH,
	};

	assert(verdict != VERDICT_MORE);
	return outcomes[verdict];
}
