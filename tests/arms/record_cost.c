/* record_cost: what it costs the load generator to write down one request: its own functions
 * (loadgen/requests.c) over a worker that has no engine, so that a request is begun, marked as sent and
 * completed, and nothing else.
 *
 * "closed" is a reply in closed loop: its latency and the counters. "open" has its lag and its latency from the
 * intended time too. "full" is the dearest request there is: open loop, with classes and a timeline. The
 * latencies are log-normal around 200 us with a wide tail, so that bins all over the histograms are touched;
 * they are drawn beforehand, and reading them is part of the cost. Batches are timed one by one and the median
 * batch is told: what disturbs a batch from outside is no cost of recording. The counts must come out right:
 * what was not recorded was not timed. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "clock.h"
#include "flow_parts.h"
#include "rng.h"
#include "worker.h"

enum { VALUES = 1 << 16, BATCHES = 400, PER_BATCH = 10000, CLASSES = 2 };

static uint64_t values[VALUES];

static void draw(void)
{
	struct rng rng;

	rng_init(&rng, 1, 0);
	for (int i = 0; i < VALUES; i++) {
		/* Box and Muller's transformation of two uniform numbers. */
		double u = rng_unit(&rng), v = rng_unit(&rng);
		values[i] = (uint64_t)(200e3 * exp(sqrt(-2 * log(u)) * cos(6.283185307179586 * v)));
	}
}

/* A worker with one connection, in the middle of a window that does not end. */
static struct worker *worker_new(enum mode mode, uint32_t kinds, bool timeline)
{
	struct worker *w = calloc(1, sizeof(*w));
	struct run *run = calloc(1, sizeof(*run));
	struct options *options = calloc(1, sizeof(*options));

	if (!w || !run || !options || !tally_init(&w->tally, kinds))
		exit(1);
	options->mode = mode;
	run->window_end_ns = UINT64_MAX;
	w->run = run;
	w->options = options;
	w->conns = calloc(1, sizeof(*w->conns));
	w->requests = calloc(1, sizeof(*w->requests));
	w->box = timeline ? interval_box_new(NS_PER_S) : NULL;
	if (!w->conns || !w->requests || (timeline && !w->box))
		exit(1);
	w->conns->requests = w->requests;
	return w;
}

/* As flow_issue() without the drawing of what is asked, then as the engines do it. */
static void one_request(struct worker *w, uint32_t at)
{
	struct request *r = w->requests;
	uint64_t due_ns = 1000 * (uint64_t)at, lag_ns = values[(at + 7919) % VALUES] >> 4;
	uint32_t kind = w->tally.kinds ? at % CLASSES : 0;

	*r = (struct request){.intended_ns = due_ns, .choice.kind = kind, .counted = true};
	w->tally.scheduled++;
	if (w->tally.kinds)
		w->tally.kinds[kind].scheduled++;
	w->conns->issued++;
	w->in_flight++;
	if (w->options->mode == MODE_OPEN)
		hist_record(&w->tally.late, lag_ns >> 1);
	flow_mark_sent(w, r, due_ns + lag_ns);
	flow_complete(w, w->conns, due_ns + lag_ns + values[at % VALUES]);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median_cost_ns(struct worker *w)
{
	static double costs[BATCHES];
	uint32_t at = 0;

	for (int batch = 0; batch < BATCHES; batch++) {
		uint64_t begun = clock_now();
		for (int i = 0; i < PER_BATCH; i++)
			one_request(w, at++);
		costs[batch] = (double)(clock_now() - begun) / PER_BATCH;
	}
	uint64_t all = (uint64_t)BATCHES * PER_BATCH;
	if (w->tally.sent.n != all || w->tally.completed != all || !tally_is_whole(&w->tally) ||
		tally_ended(&w->tally) != w->tally.scheduled) {
		fprintf(stderr, "record_cost: not every request was recorded\n");
		exit(1);
	}
	qsort(costs, BATCHES, sizeof(costs[0]), by_value);
	return costs[BATCHES / 2];
}

int main(void)
{
	draw();
	double closed = median_cost_ns(worker_new(MODE_CLOSED, 0, false));
	double open = median_cost_ns(worker_new(MODE_OPEN, 0, false));
	double full = median_cost_ns(worker_new(MODE_OPEN, CLASSES, true));
	printf("{\"closed_ns\": %.2f, \"open_ns\": %.2f, \"full_ns\": %.2f}\n", closed, open, full);
	return 0;
}
