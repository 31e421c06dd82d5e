#include "hiccup.h"

#include "clock.h"

enum { SLEEP_EVERY_NS = 200000, SPIN_EVERY_NS = 10000 };

void hiccup_probe(struct histogram *late, uint64_t duration_ns, bool spin)
{
	uint64_t every_ns = spin ? SPIN_EVERY_NS : SLEEP_EVERY_NS, now = clock_now(),
		 end_ns = now + duration_ns;

	for (uint64_t due_ns = now + every_ns; due_ns < end_ns; due_ns += every_ns) {
		struct timespec due = clock_timespec(due_ns);
		if (!spin)
			clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
		while ((now = clock_now()) < due_ns)
			;
		hist_record(late, now - due_ns);
	}
}
