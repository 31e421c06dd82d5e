/* The ways of waiting that build/micro times. Each watches descriptors watched[0..count) for input and tells
 * their indices; one is in use per process, so each file keeps its state to itself. */
#ifndef WAITS_H
#define WAITS_H

#include <stdbool.h>
#include <stddef.h>

struct way {
	const char *name;
	const char *what; /* one line for --list */

	/* Watches fds[0..count): both stay as they are until unwatch(). Ends the process, 77, where this host
	 * cannot. */
	void (*watch)(const int *fds, unsigned count);

	/* One wait, that ends with at least one event and stores the indices of at most `room`. At least one
	 * that was not told since it last became ready is ready when this is called. */
	unsigned (*wait)(unsigned *ready, unsigned room);

	/* Asks again for n that were told and read since; NULL where the question stands. */
	void (*again)(const unsigned *ready, unsigned n);

	void (*unwatch)(void);
};

extern const struct way way_select, way_poll, way_ppoll, way_epoll_lt, way_epoll_et, way_epoll_oneshot,
	way_io_uring, way_io_uring_multishot, way_linux_aio, way_sigio;

enum { EVENTS_PER_WAIT = 256 }; /* as in the servers' pages */

void *zeroed(size_t count, size_t size); /* calloc, or the end of the process */

_Noreturn void fail(const char *what);   /* status 1, with errno */
_Noreturn void cannot(const char *what); /* status 77, with errno */

#endif
