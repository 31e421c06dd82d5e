#include "find.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "judge.h"
#include "report.h"

/* The search ends when the lowest rate that failed is within this factor of the highest that did not. */
static const double TOLERANCE = 1.05;

/* So many runs in a row at the same rate may be disturbed before it counts as missed. */
enum { PATIENCE = 3 };

/* Less than this of the offered rate answered in time: the queue grows, whatever the quantile still says. */
static const double THROUGHPUT_SHARE = 0.98;

struct search {
	struct find *find;
	const struct options *options;
	const struct target *target;
	const struct expected *expected;
	struct timeline *timeline;
	char *why;
	size_t why_size;
};

/* Open loop at this rate; closed loop for 0. */
static void choose(const struct search *s, double rate)
{
	struct options *o = &s->find->options;

	*o = *s->options;
	snprintf(s->find->rate_text, sizeof(s->find->rate_text), "%.1f", rate);
	o->mode = rate > 0 ? MODE_OPEN : MODE_CLOSED;
	o->rate_text = rate > 0 ? s->find->rate_text : NULL;
	o->rate = (struct profile){.segments = {{rate, rate, o->duration_ns}}, .count = 1};
}

static bool run_at(const struct search *s, double rate, struct result *r)
{
	choose(s, rate);
	return run_load(&s->find->options, s->target, s->expected, s->timeline, r, s->why, s->why_size);
}

static const char *what_was_missed(
	const struct options *o, const struct result *r, double step_rate, uint64_t value_ns)
{
	struct options open = *o;
	struct judgement j;

	open.mode = MODE_OPEN;
	judge(&j, &open, r);
	if (j.failed)
		return "errors";
	if (!j.valid)
		return "invalid";
	if (value_ns > o->find_ns)
		return strcmp(j.bound, "client") == 0 ? "client" : "latency";
	/* By Little's law, so many may still be on their way when the window ends. */
	double under_way = step_rate * (double)o->find_ns / 1e9;
	double answered = (double)r->loads[0].total.completed + under_way;
	return answered < THROUGHPUT_SHARE * (double)r->loads[0].total.scheduled ? "throughput" : NULL;
}

/* One step of the search; its result stays in *r. */
static bool try_rate(const struct search *s, double rate, struct result *r)
{
	struct find_step *step = &s->find->steps[s->find->count];
	const struct options *o = s->options;

	if (!run_at(s, rate, r))
		return false;
	uint64_t unfinished = r->loads[0].total.scheduled - r->loads[0].total.outcomes[OUTCOME_OK];
	*step = (struct find_step){
		.rate = rate, .achieved_rps = report_rps(r, &r->loads[0].total), .value_ns = HIST_INFINITE};
	if (r->loads[0].total.scheduled > 0)
		step->value_ns = hist_quantile(&r->loads[0].total.intended, o->find_ppm, unfinished);
	step->missed = what_was_missed(o, r, rate, step->value_ns);
	step->met = !step->missed;
	s->find->count++;
	return true;
}

static void swap(struct result **a, struct result **b)
{
	struct result *kept = *a;

	*a = *b;
	*b = kept;
}

/* Halves the range between a rate that is good (at first 0) and one that is not. */
static bool bisect(const struct search *s, struct result **best, struct result **next)
{
	int disturbed = 0;
	double low = 0, high = s->find->ceiling_rps, least = 1e9 / (double)s->options->duration_ns;

	while (s->find->count < FIND_MAX_STEPS && high > low * TOLERANCE && high > 2 * least) {
		double rate = (low + high) / 2;
		if (!try_rate(s, rate, *next))
			return false;
		const struct find_step *step = &s->find->steps[s->find->count - 1];
		/* A run that was disturbed says nothing about the rate: it is tried again. */
		bool again = !step->met && strcmp(step->missed, "invalid") == 0 && ++disturbed < PATIENCE;
		disturbed = again ? disturbed : 0;
		bool interrupted = (*next)->interrupted;
		if (step->met)
			low = s->find->best_rate = rate;
		else if (!again)
			high = rate;
		/* Of the good ones the last is the best; without any, the last is what there is to show. */
		if (step->met || low == 0 || interrupted)
			swap(best, next);
		run_free(*next);
		if (interrupted)
			break;
	}
	return true;
}

bool find_rate(struct find *f, const struct options *o, const struct target *target,
	const struct expected *expected, struct timeline *timeline, struct result **r, char *why,
	size_t why_size)
{
	struct search s = {f, o, target, expected, timeline, why, why_size};
	struct result *next = calloc(1, sizeof(*next));

	memset(f, 0, sizeof(*f));
	if (!next)
		return options_wrong(why, why_size, "out of memory");
	bool fine = run_at(&s, 0, *r);
	if (fine && (*r)->started && !(*r)->interrupted) {
		f->ceiling_rps = report_rps(*r, &(*r)->loads[0].total);
		fine = bisect(&s, r, &next);
	}
	if (f->best_rate > 0)
		choose(&s, f->best_rate);
	(*r)->find = f;
	free(next);
	return fine;
}
