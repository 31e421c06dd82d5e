/* The flow of requests through a worker's connections: what is due, what is in flight, how each ends. Knows no
 * system call; the engine brings events in and carries output away. */
#ifndef LOADGEN_FLOW_H
#define LOADGEN_FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker.h"

/* Allocates a worker's connections: `active` and `idle` slots numbered from first_id. False: no memory. */
bool flow_init(struct worker *w, uint32_t first_id, uint32_t active, uint32_t idle);
void flow_fini(struct worker *w);

/* Does all that is due at `now` (connects, requests, time-outs) and returns when it wants to be called again.
 */
uint64_t flow_tick(struct worker *w, uint64_t now);

/* Every connection that is to stand before the run does. */
bool flow_all_up(const struct worker *w);

/* Lets requests begin. In open loop the schedule has been set up. */
void flow_start(struct worker *w);

/* The next end of a phase. */
uint64_t flow_next_edge(const struct worker *w, uint64_t now);

/* Nothing is in flight and nothing is queued. */
bool flow_drained(const struct worker *w);

/* After the drain: what is still in flight or queued gets its outcome, every socket is closed. */
void flow_finish(struct worker *w);

/* --- for engines --- */

/* The bytes to send next on c, 0 when there are none: *data points to them, in `room` (of `size` bytes) or in
 * memory that stays for the whole run. `now`: just before they are given to the kernel. flow_sent(): how many
 * it took. */
size_t flow_output(
	struct worker *w, struct conn *c, uint64_t now, uint8_t *room, size_t size, const uint8_t **data);
void flow_sent(struct worker *w, struct conn *c, size_t n);

void flow_connected(struct worker *w, struct conn *c, uint64_t now);
void flow_connect_failed(struct worker *w, struct conn *c, int error, uint64_t now);

/* n > 0 bytes arrived. `now`: just after they were received. May send, close and reopen c: the engine compares
 * c->life with the one it received from before it goes on with c. */
void flow_received(struct worker *w, struct conn *c, const uint8_t *data, size_t n, uint64_t now);
/* Paced reading: c has read its part; the engine's read_on() will be called for the next. */
void flow_read_later(struct worker *w, struct conn *c, uint64_t now);

void flow_eof(struct worker *w, struct conn *c, uint64_t now);
void flow_failed(struct worker *w, struct conn *c, int error, uint64_t now);

/* A spinning wait brought nothing from `from_ns` to `to_ns`. */
void flow_idled(struct worker *w, uint64_t from_ns, uint64_t to_ns);

#endif
