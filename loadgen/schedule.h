/* When requests are due (open loop). Arrivals follow an absolute plan: request i is due at the moment at which
 * the cumulated rate reaches i (constant) or the sum of i exponential steps of mean 1 (Poisson, by the time
 * change of an inhomogeneous process). Every time is computed from the start of its segment, so errors never
 * add up. */
#ifndef LOADGEN_SCHEDULE_H
#define LOADGEN_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "rng.h"

enum { MAX_SEGMENTS = 32 };

/* The rate moves evenly from `from` to `to` (per second) within length_ns. */
struct segment {
	double from, to;
	uint64_t length_ns;
};

struct profile {
	struct segment segments[MAX_SEGMENTS + 1]; /* one more: a schedule puts its warm-up in front */
	uint32_t count;
};

struct schedule {
	struct profile profile; /* of this thread: its share of the whole rate */
	bool poisson;
	struct rng rng;
	double arrivals;   /* where on the cumulated rate the next request is due */
	uint32_t segment;  /* the segment that holds it */
	double begun;      /* cumulated rate at that segment's start */
	uint64_t begun_ns; /* that segment's start */
	uint64_t next_ns;  /* when the next request is due; CLOCK_NEVER behind the last segment */
};

/* "10k" (held for `rest_ns`), "10k:5s" (held for 5 s), "10k:100k:10s" (a ramp), or several of them separated by
 * commas; only the last may leave its time out. False: not that. */
bool profile_parse(struct profile *p, const char *text, uint64_t rest_ns);
uint64_t profile_length_ns(const struct profile *p);

/* Requests due in the whole profile. */
double profile_requests(const struct profile *p);

/* Which part of the load a thread has. */
struct share {
	double of_rate; /* 0 to 1 */
	uint32_t index,
		count; /* the thread, and how many there are: constant arrivals of the threads interlock */
};

/* Random arrivals follow the seed's stream of this number; each thread needs its own. */
struct arrivals {
	bool poisson;
	uint64_t seed, stream;
};

/* The plan of a thread: its share of the profile, behind warmup_ns at the profile's first rate. */
void schedule_init(struct schedule *s, const struct profile *p, uint64_t start_ns, uint64_t warmup_ns,
	struct share share, struct arrivals arrivals);

/* Moves on to the request after the one due at s->next_ns. */
void schedule_advance(struct schedule *s);

#endif
