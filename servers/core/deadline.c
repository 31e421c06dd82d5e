#include "deadline.h"

#include "clock.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

static void put(struct deadlines *deadlines, size_t place, struct deadline *deadline)
{
	deadlines->heap[place] = deadline;
	deadline->place = place;
}

static void sift_up(struct deadlines *deadlines, size_t place, struct deadline *deadline)
{
	while (place > 1 && deadlines->heap[place / 2]->at_ns > deadline->at_ns) {
		put(deadlines, place, deadlines->heap[place / 2]);
		place /= 2;
	}
	put(deadlines, place, deadline);
}

static void sift_down(struct deadlines *deadlines, size_t place, struct deadline *deadline)
{
	for (size_t child = 2 * place; child <= deadlines->count; child = 2 * place) {
		if (child < deadlines->count &&
			deadlines->heap[child + 1]->at_ns < deadlines->heap[child]->at_ns)
			child++;
		if (deadlines->heap[child]->at_ns >= deadline->at_ns)
			break;
		put(deadlines, place, deadlines->heap[child]);
		place = child;
	}
	put(deadlines, place, deadline);
}

void deadline_set(struct deadlines *deadlines, struct deadline *deadline, uint64_t at_ns)
{
	assert(!deadline_is_set(deadline));
	if (deadlines->count + 1 >= deadlines->capacity) { /* place 0 stays unused */
		deadlines->capacity = deadlines->capacity ? 2 * deadlines->capacity : 64;
		deadlines->heap = realloc(deadlines->heap, deadlines->capacity * sizeof *deadlines->heap);
		if (!deadlines->heap) {
			fprintf(stderr, "out of memory: no room for %zu deadlines\n", deadlines->capacity);
			abort();
		}
	}
	deadline->at_ns = at_ns;
	sift_up(deadlines, ++deadlines->count, deadline);
}

void deadline_clear(struct deadlines *deadlines, struct deadline *deadline)
{
	size_t place = deadline->place;
	if (place == 0)
		return;
	deadline->place = 0;
	struct deadline *last = deadlines->heap[deadlines->count--];
	if (last == deadline)
		return;
	if (place > 1 && last->at_ns < deadlines->heap[place / 2]->at_ns)
		sift_up(deadlines, place, last);
	else
		sift_down(deadlines, place, last);
}

struct deadline *deadline_expired(struct deadlines *deadlines, uint64_t now_ns)
{
	if (deadlines->count == 0 || deadlines->heap[1]->at_ns > now_ns)
		return NULL;
	struct deadline *first = deadlines->heap[1];
	deadline_clear(deadlines, first);
	return first;
}

const struct timespec *deadline_wait(const struct deadlines *deadlines, uint64_t now_ns, struct timespec *wait)
{
	if (deadlines->count == 0)
		return NULL;
	uint64_t at_ns = deadlines->heap[1]->at_ns;
	*wait = clock_timespec(at_ns > now_ns ? at_ns - now_ns : 0);
	return wait;
}

void deadlines_free(struct deadlines *deadlines)
{
	free(deadlines->heap);
	*deadlines = (struct deadlines){0};
}
