#include "pause.h"

#include "clock.h"
#include "portable.h"
#include "work.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

const struct timespec *pause_timeout(const struct deadlines *deadlines, struct timespec *timeout)
{
	return deadlines->count ? deadline_wait(deadlines, clock_now_ns(), timeout) : NULL;
}

void pause_begin(struct deadlines *deadlines, struct deadline *deadline, struct pause pause)
{
	deadline_set(deadlines, deadline, clock_now_ns() + pause.amount);
}

struct deadline *pause_expired(struct deadlines *deadlines)
{
	return deadlines->count ? deadline_expired(deadlines, clock_now_ns()) : NULL;
}

static void sleep_through(uint64_t ns)
{
	struct timespec until = clock_timespec(clock_now_ns() + ns);
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
		;
}

void pause_here(struct pause pause)
{
	if (pause.kind == PAUSE_WORK)
		work_burn(pause.amount);
	else if (pause.kind == PAUSE_FILE)
		*pause.got = pread(pause.fd, pause.buf, pause.len, pause.offset); /* a regular file: no EINTR */
	else
		sleep_through(pause.amount);
}

/* Polled for no event, a socket still reports POLLERR and POLLHUP. The peer's FIN alone is neither. */
bool pause_on(int fd, struct pause pause)
{
	if (pause.kind == PAUSE_WORK || pause.kind == PAUSE_FILE) {
		pause_here(pause);
		return true;
	}
	uint64_t until = clock_now_ns() + pause.amount;
	for (uint64_t now = clock_now_ns(); now < until; now = clock_now_ns()) {
		struct timespec left = clock_timespec(until - now);
		struct pollfd socket = {.fd = fd};
		int n = portable_poll(&socket, &left);
		if (n == 0)
			return true;
		if (n < 0)
			continue; /* a signal */
		int error = 0;
		socklen_t size = sizeof error;
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
		errno = error ? error : EPIPE;
		return false;
	}
	return true;
}
