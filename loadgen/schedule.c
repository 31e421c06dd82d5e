#include "schedule.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "parse.h"

/* One segment of the profile's text; `last` may leave its time out. */
static bool parse_segment(struct segment *s, char *text, bool last, uint64_t rest_ns)
{
	char *second = strchr(text, ':'), *third = NULL;

	if (second) {
		*second++ = '\0';
		third = strchr(second, ':');
		if (third)
			*third++ = '\0';
	}
	if (!parse_rate(text, &s->from))
		return false;
	s->to = s->from;
	s->length_ns = rest_ns;
	if (!second)
		return last;
	if (!third)
		return parse_time_ns(second, &s->length_ns) && s->length_ns > 0;
	return parse_rate(second, &s->to) && parse_time_ns(third, &s->length_ns) && s->length_ns > 0;
}

bool profile_parse(struct profile *p, const char *text, uint64_t rest_ns)
{
	char copy[1024], *at = copy;

	p->count = 0;
	if ((size_t)snprintf(copy, sizeof(copy), "%s", text) >= sizeof(copy))
		return false;
	while (at) {
		char *comma = strchr(at, ',');
		if (comma)
			*comma++ = '\0';
		if (p->count == MAX_SEGMENTS || !parse_segment(&p->segments[p->count], at, !comma, rest_ns))
			return false;
		p->count++;
		at = comma;
	}
	return true;
}

uint64_t profile_length_ns(const struct profile *p)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < p->count; i++)
		sum += p->segments[i].length_ns;
	return sum;
}

static double segment_requests(const struct segment *s)
{
	return (s->from + s->to) / 2 * (double)s->length_ns / 1e9;
}

double profile_requests(const struct profile *p)
{
	double sum = 0;

	for (uint32_t i = 0; i < p->count; i++)
		sum += segment_requests(&p->segments[i]);
	return sum;
}

/* When, after the segment's start, its cumulated rate reaches n: the positive root of the ramp's quadratic, in
 * the form that does not cancel. */
static double segment_seconds(const struct segment *s, double n)
{
	double slope = (s->to - s->from) / ((double)s->length_ns / 1e9);
	double inside = s->from * s->from + 2 * slope * n;

	return 2 * n / (s->from + sqrt(inside > 0 ? inside : 0));
}

/* Sets next_ns to the moment at which the cumulated rate reaches `arrivals`. */
static void locate(struct schedule *s)
{
	while (s->segment < s->profile.count) {
		const struct segment *segment = &s->profile.segments[s->segment];
		double n = s->arrivals - s->begun, whole = segment_requests(segment);
		if (n < whole) {
			s->next_ns = s->begun_ns + (uint64_t)llround(segment_seconds(segment, n) * 1e9);
			return;
		}
		s->begun += whole;
		s->begun_ns += segment->length_ns;
		s->segment++;
	}
	s->next_ns = CLOCK_NEVER;
}

void schedule_init(struct schedule *s, const struct profile *p, uint64_t start_ns, uint64_t warmup_ns,
	struct share share, struct arrivals arrivals)
{
	memset(s, 0, sizeof(*s));
	rng_init(&s->rng, arrivals.seed, arrivals.stream);
	s->poisson = arrivals.poisson;
	s->begun_ns = start_ns;
	s->profile = *p;
	for (uint32_t i = 0; i < p->count; i++) {
		s->profile.segments[i].from *= share.of_rate;
		s->profile.segments[i].to *= share.of_rate;
	}
	if (warmup_ns > 0) {
		double rate = s->profile.segments[0].from;
		memmove(s->profile.segments + 1, s->profile.segments,
			sizeof(s->profile.segments[0]) * p->count);
		s->profile.segments[0] = (struct segment){rate, rate, warmup_ns};
		s->profile.count++;
	}
	s->arrivals = s->poisson ? rng_exponential(&s->rng) : (double)share.index / share.count;
	locate(s);
}

void schedule_advance(struct schedule *s)
{
	s->arrivals += s->poisson ? rng_exponential(&s->rng) : 1;
	locate(s);
}
