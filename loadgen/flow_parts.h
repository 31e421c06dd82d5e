/* What the two halves of the flow ask of each other: requests (flow.c) and the lives of connections (lives.c).
 */
#ifndef LOADGEN_FLOW_PARTS_H
#define LOADGEN_FLOW_PARTS_H

#include "worker.h"

/* --- requests, flow.c --- */

uint64_t flow_window_end(const struct worker *w);
bool flow_in_window(const struct worker *w, uint64_t moment_ns);

/* The oldest request in flight on c ends in `class`. */
void flow_end_request(struct worker *w, struct conn *c, enum class class);

/* c may have room for more requests. Closed loop: they are issued, or due after the think time. Open loop: the
 * room is offered to the schedule. Does not send what it issues, except that a connection that is down is
 * opened. */
void flow_offer(struct worker *w, struct conn *c, uint64_t now);

/* Request r begins to leave for the kernel. */
void flow_mark_sent(struct worker *w, struct request *r, uint64_t now);

/* Sends what is issued and not yet sent. */
void flow_flush(struct worker *w, struct conn *c, uint64_t now);

/* --- connections, lives.c --- */

void lives_open(struct worker *w, struct conn *c);
void lives_close(struct worker *w, struct conn *c);

/* c has served all the requests it was to serve, or the server said that it closes: it is closed without an
 * error, and its slot goes on. */
void lives_recycle(struct worker *w, struct conn *c, uint64_t now);

/* c has failed, and with it all its requests in flight; its slot goes on. */
void lives_lose(struct worker *w, struct conn *c, enum class class, uint64_t now);

/* Opens slots that are down and due, never too many at once. Returns when to be called again. */
uint64_t lives_open_due(struct worker *w, uint64_t now);

/* Fails connects and requests that have waited too long. Returns when to be called again. */
uint64_t lives_sweep(struct worker *w, uint64_t now);

#endif
