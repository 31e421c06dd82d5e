/* Which request comes next: its class, by weight, and the number in its path. Drawn from a seeded stream of the
 * thread's own in the order in which requests are due, whatever becomes of them: the n-th request of a thread
 * is the same in every run, against every server, and one that is never sent has its class as well. */
#ifndef LOADGEN_CHOICE_H
#define LOADGEN_CHOICE_H

#include <stdint.h>

#include "options.h"
#include "rng.h"

struct choice {
	uint32_t kind;   /* class, in the order of the command line; 0 where there are none */
	uint32_t number; /* in a path such as /file/{0..9999}; else 0 */
};

struct chooser {
	struct rng rng;
	uint32_t kinds;
	uint64_t weights[MAX_CLASSES]; /* cumulated */
	struct numbers numbers[MAX_CLASSES];
};

/* `stream` tells the threads of a run apart. */
void chooser_init(struct chooser *c, const struct options *load, uint64_t stream);

/* Draws only what there is to choose. */
struct choice chooser_next(struct chooser *c);

#endif
