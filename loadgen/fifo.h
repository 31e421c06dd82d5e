/* A bounded queue of places: a place is the right to have one more request in flight on a connection. */
#ifndef LOADGEN_FIFO_H
#define LOADGEN_FIFO_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

struct place {
	uint64_t since_ns; /* when it became free (open loop), when its next request is due (closed loop, think
			      time) */
	uint32_t conn;     /* index of the connection */
};

struct fifo {
	struct place *slots; /* mask + 1 of them */
	uint32_t mask;
	uint32_t head, tail; /* count up for ever; tail - head are queued */
};

/* `size` is a power of two. False: no memory. The slots are freed by free(). */
static inline bool fifo_init(struct fifo *f, uint32_t size)
{
	*f = (struct fifo){.slots = calloc(size, sizeof(struct place)), .mask = size - 1};
	return f->slots != NULL;
}

static inline bool fifo_empty(const struct fifo *f)
{
	return f->head == f->tail;
}

static inline void fifo_push(struct fifo *f, struct place place)
{
	assert(f->tail - f->head <= f->mask);
	f->slots[f->tail++ & f->mask] = place;
}

static inline struct place fifo_peek(const struct fifo *f)
{
	return f->slots[f->head & f->mask];
}

static inline struct place fifo_pop(struct fifo *f)
{
	return f->slots[f->head++ & f->mask];
}

#endif
