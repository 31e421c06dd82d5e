/* Deadlines: a binary heap of when paused requests may go on. Pure: it knows no clock, and holds pointers
 * into the clients, so that setting and clearing one costs O(log n) and finding the next one nothing. */
#ifndef DEADLINE_H
#define DEADLINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct deadline { /* embed it in the client, zeroed; it must not move while it is set */
	uint64_t at_ns;
	size_t place; /* in the heap, from 1; 0: not set */
};

struct deadlines { /* zero-initialise */
	struct deadline **heap;
	size_t count, capacity;
};

static inline bool deadline_is_set(const struct deadline *deadline)
{
	return deadline->place != 0;
}

/* Sets a deadline that is not set. Grows the heap; without memory the process ends and says so. */
void deadline_set(struct deadlines *, struct deadline *, uint64_t at_ns);

/* Clears it; nothing happens if it is not set. */
void deadline_clear(struct deadlines *, struct deadline *);

/* Takes out and returns the earliest deadline at or before now_ns; NULL if there is none. */
struct deadline *deadline_expired(struct deadlines *, uint64_t now_ns);

/* How long to wait for the earliest one: fills in *wait and returns it; NULL, for ever, if none is set. */
const struct timespec *deadline_wait(const struct deadlines *, uint64_t now_ns, struct timespec *wait);

void deadlines_free(struct deadlines *);

#endif
