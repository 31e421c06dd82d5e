/* Everything that is counted in a run. Each thread fills its own; they are added up after the run. */
#ifndef LOADGEN_TALLY_H
#define LOADGEN_TALLY_H

#include <stdbool.h>
#include <stdint.h>

#include "outcome.h"
#include "histogram.h"

struct connect_counts {
	uint64_t attempts, established, replaced,
		recycled; /* replaced: lost after they stood; recycled: closed as agreed */
	uint64_t failed[OUTCOME_COUNT];
};

/* Of one class of requests. */
struct kind_tally {
	uint64_t scheduled, completed;
	uint64_t outcomes[OUTCOME_COUNT], outside[OUTCOME_COUNT];
	struct histogram intended, sent;
};

struct tally {
	uint64_t scheduled;               /* requests due inside the window */
	uint64_t outcomes[OUTCOME_COUNT]; /* how they ended */
	uint64_t outside[OUTCOME_COUNT];  /* how requests due outside the window (warm-up) ended */
	uint64_t completed; /* good replies that arrived inside the window, whenever they were due */
	uint64_t sent_bytes, received_bytes;
	uint64_t unsolicited; /* connections on which bytes came while nothing was asked */
	struct connect_counts connects, idle_connects;
	uint64_t waits, events, receives, sends, send_blocked;
	uint64_t idle_ns; /* inside the window, spent in waits that brought nothing (wait policy spin) */
	struct histogram intended, sent, lag, connect;
	struct histogram late;    /* open loop: how long a due request waited although a connection was free */
	struct kind_tally *kinds; /* with --class: the same requests once more, by class */
	uint32_t kind_count;
};

/* kind_count: 0 without --class. Ends with tally_fini(), in any case. False: no memory for the classes. */
bool tally_init(struct tally *t, uint32_t kind_count);
void tally_fini(struct tally *t);

/* Of the classes, only what *into has as well. */
void tally_add(struct tally *into, const struct tally *from);

/* Requests of the window that have ended: must equal `scheduled` after the run. */
uint64_t tally_ended(const struct tally *t);

/* Every request of every class has ended, and the classes together are all requests. */
bool tally_is_whole(const struct tally *t);

/* Requests, of the window or not, that ended in an error class. */
uint64_t tally_errors(const struct tally *t);
uint64_t tally_connect_failures(const struct connect_counts *c);

#endif
