#include "judge.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "find.h"
#include "text.h"

/* Every threshold of the judgement stands here; docs/loadgen.md gives the reasons. */
static const double CLIENT_BOUND_BUSY = 0.90; /* a thread busier than this may have been the limit */
static const double SERVER_BOUND_BUSY =
	0.97; /* a watched server busier than this, of the CPUs it can use, was the limit */
static const double SERVER_BOUND_SHARE =
	0.98;                          /* less than this of the offered rate answered: somebody was the limit */
static const double LATE_P99_NS = 1e6; /* the generator may be this late, */
static const double LATE_HICCUPS = 2;  /* or this many times the worst stutter of the idle host */
static const double EDGE_SHARE = 0.02; /* CPU samples may miss the edges of the window by this share of it */

static void add(struct judgement *j, const char *name, double value, double limit, bool kept,
	const char *format, ...) __attribute__((format(printf, 6, 7)));

static void add(
	struct judgement *j, const char *name, double value, double limit, bool kept, const char *format, ...)
{
	struct check *c = &j->checks[j->check_count++];
	va_list args;

	assert(j->check_count <= MAX_CHECKS);
	c->name = name;
	c->value = value;
	c->limit = limit;
	c->kept = kept;
	j->valid = j->valid && kept;
	va_start(args, format);
	vsnprintf(c->text, sizeof(c->text), format, args);
	va_end(args);
}

/* The busiest of the watched processes, as a share of the CPUs that it can use at once. */
static double watched_busy(const struct options *o, const struct result *r)
{
	double window_ns = (double)(r->after.at_ns - r->before.at_ns), busiest = 0;

	for (uint32_t i = 0; i < o->watch_count; i++) {
		const struct watched_process *a = &r->before.watched[i], *b = &r->after.watched[i];
		if (!a->found || !b->found || b->usable_cpus == 0 || window_ns <= 0)
			continue;
		double busy = (double)(b->cpu_ns - a->cpu_ns) / window_ns / b->usable_cpus;
		busiest = busy > busiest ? busy : busiest;
	}
	return busiest;
}

static const char *find_bound(const struct judgement *j, const struct options *o, const struct result *r)
{
	const struct tally *t = &r->loads[0].total;

	if (j->client_busy >= CLIENT_BOUND_BUSY)
		return "client";
	if (watched_busy(o, r) >= SERVER_BOUND_BUSY)
		return "server";
	/* The client had time and the load was offered: what was not answered in time was not answered by the
	 * server. */
	double under_way = (double)(o->connections * o->depth); /* when the window ends, at most */
	if (o->mode == MODE_OPEN &&
		(double)t->completed + under_way < SERVER_BOUND_SHARE * (double)t->scheduled)
		return "server";
	return "neither";
}

static void check_identity(struct judgement *j, const struct tally *t)
{
	uint64_t ended = tally_ended(t);

	add(j, "identity", (double)ended, (double)t->scheduled, tally_is_whole(t),
		"%" PRIu64 " requests were scheduled and %" PRIu64 " have ended in a class%s", t->scheduled,
		ended,
		t->kind_count && ended == t->scheduled ? "; the classes of requests do not add up to them"
						       : "");
}

static void check_window(struct judgement *j, const struct options *o, const struct result *r)
{
	double skew_ns = (double)r->after.at_ns - (double)r->before.at_ns - (double)r->window_ns;
	double share = r->window_ns ? (skew_ns < 0 ? -skew_ns : skew_ns) / (double)r->window_ns : 0;

	add(j, "interrupted", r->interrupted, 0, !r->interrupted, "the window lasted %.3f s of %.3f s",
		(double)r->window_ns / 1e9, (double)o->duration_ns / 1e9);
	if (!r->interrupted)
		add(j, "window_edges", share, EDGE_SHARE, share <= EDGE_SHARE,
			"the CPU samples span %.3f s, the window %.3f s: the generator's main thread found no "
			"CPU in time",
			(double)(r->after.at_ns - r->before.at_ns) / 1e9, (double)r->window_ns / 1e9);
}

/* Was the generator as punctual as its host allows? A saturated client is bound, not invalid. */
static void check_punctual(struct judgement *j, const struct options *o, const struct result *r)
{
	char late[32], allowed[32];

	if (o->mode != MODE_OPEN || r->loads[0].total.late.n == 0)
		return;
	double p99_ns = (double)hist_quantile(&r->loads[0].total.late, 990000, 0);
	double hiccup_ns = r->hiccups.n ? LATE_HICCUPS * (double)r->hiccups.max : 0;
	double limit_ns = hiccup_ns > LATE_P99_NS ? hiccup_ns : LATE_P99_NS;
	bool kept = p99_ns <= limit_ns || strcmp(j->bound, "client") == 0;
	add(j, "generator_lag", p99_ns, limit_ns, kept,
		"1 %% of the requests left the generator %s or more after they could have; at most %s is "
		"accepted",
		text_duration(p99_ns, late, sizeof(late)), text_duration(limit_ns, allowed, sizeof(allowed)));
}

static bool load_failed(const struct tally *t)
{
	return tally_errors(t) > 0 || t->outcomes[OUTCOME_OK] == 0 || t->unsolicited > 0 ||
	       tally_connect_failures(&t->connects) > 0 || tally_connect_failures(&t->idle_connects) > 0 ||
	       t->idle_connects.replaced > 0;
}

static bool has_failed(const struct result *r)
{
	bool failed = !r->started || (r->find && r->find->best_rate <= 0);

	for (uint32_t l = 0; l < r->load_count; l++)
		failed = failed || load_failed(&r->loads[l].total);
	return failed;
}

void judge(struct judgement *j, const struct options *o, const struct result *r)
{
	memset(j, 0, sizeof(*j));
	j->valid = true;
	for (uint32_t i = 0; i < r->thread_count; i++)
		j->client_busy = r->threads[i].busy > j->client_busy ? r->threads[i].busy : j->client_busy;
	j->bound = find_bound(j, o, r);
	for (uint32_t l = 0; l < r->load_count; l++)
		check_identity(j, &r->loads[l].total);
	if (r->started || r->interrupted)
		check_window(j, o, r);
	if (r->started)
		check_punctual(j, o, r);
	j->failed = has_failed(r);
	j->status = !j->valid ? EXIT_INVALID : j->failed ? EXIT_FAILED : EXIT_GOOD;
}
