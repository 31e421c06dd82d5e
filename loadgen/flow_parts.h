/* What the parts of the flow ask of each other: when (flow.c), requests (requests.c), replies (replies.c) and
 * the lives of connections (lives.c). */
#ifndef LOADGEN_FLOW_PARTS_H
#define LOADGEN_FLOW_PARTS_H

#include "worker.h"

/* --- when, flow.c --- */

uint64_t flow_window_end(const struct worker *w);
bool flow_in_window(const struct worker *w, uint64_t moment_ns);

/* c may have room for more requests. Closed loop: they are issued, or due after the think time. Open loop: the
 * room is offered to the schedule. Does not send what it issues, except that a connection that is down is
 * opened. */
void flow_offer(struct worker *w, struct conn *c, uint64_t now);

/* Gives requests that are due to connections that have room. Returns when the next one is due. */
uint64_t flow_dispatch(struct worker *w);

/* Sends what is issued and not yet sent. */
void flow_flush(struct worker *w, struct conn *c, uint64_t now);

/* Paced sending: c sends on at its send_gate_ns. */
void flow_send_later(struct worker *w, struct conn *c);

/* --- requests, requests.c --- */

/* A request that was due at intended_ns is c's next. */
void flow_issue(struct worker *w, struct conn *c, uint64_t intended_ns);

/* A request that was due and never given to a connection. */
void flow_end_unissued(struct worker *w, uint64_t intended_ns, enum outcome outcome);

/* Request r begins to leave for the kernel. */
void flow_mark_sent(struct worker *w, struct request *r, uint64_t now);

/* The oldest request in flight on c ends in `outcome`, or with its right reply whose last byte came at `now`.
 */
void flow_end_request(struct worker *w, struct conn *c, enum outcome outcome);
void flow_complete(struct worker *w, struct conn *c, uint64_t now);

/* --- connections, lives.c --- */

void lives_open(struct worker *w, struct conn *c);
void lives_close(struct worker *w, struct conn *c);

/* c has served all the requests it was to serve, or the server said that it closes: it is closed without an
 * error, and its slot goes on. */
void lives_recycle(struct worker *w, struct conn *c, uint64_t now);

/* c has failed, and with it all its requests in flight; its slot goes on. */
void lives_lose(struct worker *w, struct conn *c, enum outcome outcome, uint64_t now);

/* Opens slots that are down and due, never too many at once. Returns when to be called again. */
uint64_t lives_open_due(struct worker *w, uint64_t now);

/* Fails connects and requests that have waited too long. Returns when to be called again. */
uint64_t lives_sweep(struct worker *w, uint64_t now);

#endif
