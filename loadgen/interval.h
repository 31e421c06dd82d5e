/* What happened since somebody last looked: for the timeline and the live progress. A worker fills one interval
 * privately and adds it to a box under a lock at each tick of the clock that the main thread has set, so that
 * the hot path shares nothing. Nothing is lost between two looks: what is not taken is added to. */
#ifndef LOADGEN_INTERVAL_H
#define LOADGEN_INTERVAL_H

#include <pthread.h>
#include <stdint.h>

#include "histogram.h"

struct interval {
	uint64_t ok, errors, sent;
	struct histogram latency; /* of good replies: from the intended time in open loop, else from the send */
};

struct interval_box {
	pthread_mutex_t lock;
	struct interval published;  /* under the lock */
	struct interval current;    /* the worker's own */
	uint64_t every_ns, next_ns; /* the worker's own: when it publishes */
};

void interval_init(struct interval *i);
void interval_add(struct interval *into, const struct interval *from);

struct interval_box *interval_box_new(uint64_t every_ns);
void interval_box_free(struct interval_box *box);

/* By the worker: adds `current` to what is published and begins anew. */
void interval_publish(struct interval_box *box, uint64_t now_ns);

/* By the main thread: adds what is published to *into and empties it. */
void interval_take(struct interval_box *box, struct interval *into);

#endif
