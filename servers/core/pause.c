#include "pause.h"

#include "clock.h"
#include "work.h"

#include <errno.h>

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

void pause_here(struct pause pause)
{
	if (pause.kind == PAUSE_WORK) {
		work_burn(pause.amount);
		return;
	}
	struct timespec until = clock_timespec(clock_now_ns() + pause.amount);
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
		;
}
