/* What one thread of the generator owns. Nothing here is shared with another thread while the run lasts, except
 * what `struct run` marks as atomic: read once per request, written at most once in a run. */
#ifndef LOADGEN_WORKER_H
#define LOADGEN_WORKER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "choice.h"
#include "conn.h"
#include "fifo.h"
#include "interval.h"
#include "net.h"
#include "options.h"
#include "proto.h"
#include "schedule.h"
#include "tally.h"

/* What is sent or received in one call is at most this. */
enum { SCRATCH_BYTES = 65536 };

/* What the whole run shares. Written by the main thread; the window is fixed before the first request is
 * issued. */
struct run {
	const struct options *options;
	const struct target *target;
	const struct payload *payload;
	const struct expected *expected; /* MAX_CLASSES for each load; see expected.h */
	uint64_t start_ns, window_start_ns;
	_Atomic uint64_t window_end_ns; /* moves only when the run is interrupted: then to that moment */
	_Atomic uint64_t drain_end_ns;
};

struct worker {
	struct run *run;
	const struct options *options;
	const struct engine *engine;
	void *engine_state;
	struct proto proto;
	struct schedule schedule; /* open loop */
	struct chooser chooser;   /* of what is asked next */
	struct fifo places;
	struct fifo senders, readers; /* paced: connections whose next part or read is due at since_ns */
	struct conn *conns;           /* active ones first, then idle ones */
	struct request *requests;     /* the rings of all active connections, one after another */
	uint32_t conn_count, active_count;
	uint32_t ring_mask;
	uint64_t per_life;                /* requests on one connection before it is closed; 0: no such limit */
	uint32_t connecting, up, to_open; /* slots in these states */
	uint32_t in_flight;
	uint32_t next_down; /* where the search for slots to open goes on */
	uint64_t next_open_ns, next_sweep_ns;
	bool running;           /* requests may be issued */
	_Atomic bool cancelled; /* set by the main thread: do not wait for connections any longer */
	const char *failed;     /* why this worker gave up, and the errno */
	int failed_errno;
	uint32_t load, index; /* which load it drives, and the how-manieth of its threads it is */
	uint32_t stream;      /* of random numbers; each worker of the run has its own */
	int cpu;              /* pinned to this one; -1: not pinned */
	pthread_t thread;
	struct interval_box *box; /* where the progress of each second goes; NULL: nobody wants it */
	struct tally tally;
	struct histogram hiccups;
};

#endif
