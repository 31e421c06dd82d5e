#include "judge.h"

#include <stdio.h>
#include <string.h>

/* Every threshold of the judgement stands here. */
static const double CLIENT_BOUND_BUSY = 0.90; /* a thread busier than this may have been the limit */
static const double SERVER_BOUND_BUSY = 0.97; /* a watched server busier than this was the limit */

static struct check *add(struct judgement *j, const char *name, double value, double limit, bool kept)
{
	struct check *c = &j->checks[j->check_count++];

	c->name = name;
	c->value = value;
	c->limit = limit;
	c->kept = kept;
	if (!kept)
		j->valid = false;
	return c;
}

/* CPUs' worth of time that the watched processes used. */
static double watched_busy(const struct options *o, const struct result *r)
{
	double window_ns = (double)(r->after.at_ns - r->before.at_ns), cpu_ns = 0;

	for (uint32_t i = 0; i < o->watch_count; i++)
		cpu_ns += (double)(r->after.watched[i].cpu_ns - r->before.watched[i].cpu_ns);
	return window_ns > 0 ? cpu_ns / window_ns : 0;
}

static const char *find_bound(const struct judgement *j, const struct options *o, const struct result *r)
{
	if (j->client_busy >= CLIENT_BOUND_BUSY)
		return "client";
	if (o->watch_count > 0 && watched_busy(o, r) >= SERVER_BOUND_BUSY)
		return "server";
	return "neither";
}

void judge(struct judgement *j, const struct options *o, const struct result *r)
{
	uint64_t ended = tally_ended(&r->total);

	memset(j, 0, sizeof(*j));
	j->valid = true;
	for (uint32_t i = 0; i < r->thread_count; i++)
		j->client_busy = r->threads[i].busy > j->client_busy ? r->threads[i].busy : j->client_busy;
	j->bound = find_bound(j, o, r);
	struct check *c =
		add(j, "identity", (double)ended, (double)r->total.scheduled, ended == r->total.scheduled);
	snprintf(c->text, sizeof(c->text), "%llu requests were scheduled and %llu have ended",
		(unsigned long long)r->total.scheduled, (unsigned long long)ended);
	c = add(j, "interrupted", r->interrupted, 0, !r->interrupted);
	snprintf(c->text, sizeof(c->text), "the run was %s after %.3f s of the window",
		r->interrupted ? "interrupted" : "ended as planned", (double)r->window_ns / 1e9);
	j->failed = !r->started || tally_errors(&r->total) > 0 || r->total.classes[CLASS_OK] == 0 ||
		    tally_connect_failures(&r->total.connects) > 0 ||
		    tally_connect_failures(&r->total.idle_connects) > 0 ||
		    r->total.idle_connects.replaced > 0 || r->total.unsolicited > 0;
	j->status = !j->valid ? EXIT_INVALID : j->failed ? EXIT_FAILED : EXIT_GOOD;
}
