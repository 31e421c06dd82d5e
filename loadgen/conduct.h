/* The main thread's part of a run: it sleeps to the moments that matter (edges of the window, ticks of the
 * timeline, pauses of watched processes) and does what is due at each. */
#ifndef LOADGEN_CONDUCT_H
#define LOADGEN_CONDUCT_H

#include "run.h"
#include "timeline.h"
#include "worker.h"

struct stage {
	struct run run;
	struct worker *workers;
	uint32_t count;
	const struct load *loads;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint32_t ready; /* workers whose connections stand, or that gave up */
	bool go, cancelled;
	bool sampled;                     /* the workers may end */
	atomic_uint finished;             /* workers that are through with their drain */
	uint64_t *cpu_before, *cpu_after; /* CPU time of each worker at the edges of the window */
	struct timeline *timeline;
};

/* The thread of one worker; `argument` is a struct worker_argument. */
struct worker_argument {
	struct stage *stage;
	struct worker *worker;
};
void *worker_main(void *argument);

/* Sleeps until `until_ns`. True: a signal asked to end the run. */
bool conduct_sleep(uint64_t until_ns);

/* From the release of the workers until all have finished. Fills the samples and the events of *r. */
void conduct(struct stage *s, struct result *r);

#endif
