/* The seam inside the core: conn.c owns the connection's state, a protocol turns input into owed output. */
#ifndef PROTOCOL_H
#define PROTOCOL_H

#include "conn.h"

/* Takes as much of the input as it can serve now and returns how much it took; the rest is given again, with
 * whatever came after it, once nothing holds it up: not before conn->out and the generated body are sent, and
 * the pause is done. Not called while conn->closing. */
size_t greet_take(struct conn *, const uint8_t *data, size_t n);
size_t http_take(struct conn *, const uint8_t *data, size_t n);
size_t frame_take(struct conn *, const uint8_t *data, size_t n);

/* The peer sends no more; the input the protocol left is incomplete for good. */
void greet_eof(struct conn *);

/* The pause is over: write the reply that waited for it, or begin the next pause. */
void greet_resume(struct conn *);
void http_resume(struct conn *);
void frame_resume(struct conn *);

/* All before it is sent: lends the memory into which PAUSE_FILE reads. */
void http_lend(struct conn *);

/* A delay as the options want it; none if it is 0. */
static inline struct pause pause_delay(const struct core *core, uint64_t ns)
{
	if (ns == 0)
		return (struct pause){0};
	return (struct pause){.kind = core->delay_blocks ? PAUSE_SLEEP : PAUSE_DELAY, .amount = ns};
}

#endif
