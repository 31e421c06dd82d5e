#include "classes.h"

#include <assert.h>
#include <errno.h>

const char *const class_names[CLASS_COUNT] = {
	[CLASS_OK] = "ok",
	[CLASS_SHED] = "shed",
	[CLASS_INFLIGHT_END] = "inflight_end",
	[CLASS_NEVER_SENT] = "never_sent",
	[CLASS_CONNECT_REFUSED] = "connect_refused",
	[CLASS_CONNECT_TIMEOUT] = "connect_timeout",
	[CLASS_RESET] = "reset",
	[CLASS_EARLY_EOF] = "early_eof",
	[CLASS_SHORT] = "short",
	[CLASS_LONG] = "long",
	[CLASS_MISMATCH] = "mismatch",
	[CLASS_ORDER] = "order",
	[CLASS_DUPLICATE] = "duplicate",
	[CLASS_FOREIGN] = "foreign",
	[CLASS_STATUS] = "status",
	[CLASS_TOO_SOON] = "too_soon",
	[CLASS_TIMEOUT] = "timeout",
	[CLASS_ADDR_UNAVAILABLE] = "addr_unavailable",
	[CLASS_EMFILE] = "emfile",
	[CLASS_SEND] = "send",
};

enum class class_of_connect_errno(int error) {
	switch (error){
		case ETIMEDOUT : return CLASS_CONNECT_TIMEOUT;
		case EADDRNOTAVAIL : case EADDRINUSE : return CLASS_ADDR_UNAVAILABLE;
		case EMFILE : case ENFILE : case ENOMEM : case ENOBUFS : return CLASS_EMFILE;
		case ECONNRESET : case EPIPE : return CLASS_RESET;
		default : /* refused, unreachable, no such socket file; EAGAIN: a Unix listener whose queue is
			     full */
			return CLASS_CONNECT_REFUSED;
	}
}

enum class class_of_io_errno(int error) {
	switch (error){
		case ECONNRESET : case EPIPE : return CLASS_RESET; case ETIMEDOUT : return CLASS_TIMEOUT;
		default : return CLASS_SEND;
	}
}

enum class class_of_verdict(enum verdict verdict) {
	static const enum class classes[] =
		{
			[VERDICT_OK] = CLASS_OK,
			[VERDICT_MISMATCH] = CLASS_MISMATCH,
			[VERDICT_ORDER] = CLASS_ORDER,
			[VERDICT_FOREIGN] = CLASS_FOREIGN,
			[VERDICT_STATUS] = CLASS_STATUS,
			[VERDICT_SHORT] = CLASS_SHORT,
			[VERDICT_LONG] = CLASS_LONG,
			[VERDICT_DUPLICATE] = CLASS_DUPLICATE,
			[VERDICT_MALFORMED] = CLASS_MISMATCH,
		};

	assert(verdict != VERDICT_MORE);
	return classes[verdict];
}
