/* record_cost: what it costs the load generator to write down one request, over its own tally and histograms.
 *
 * "closed" is what a reply in closed loop adds to: the latency from the send and the counters. "open" adds lag,
 * lateness and the latency from the intended time: the dearest request there is. The values are log-normal
 * around 200 us with a wide tail, so that bins all over the histograms are touched; they are drawn beforehand,
 * and reading them is part of the cost. Batches are timed one by one and the median batch is told: what
 * disturbs a batch from outside is no cost of recording. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "clock.h"
#include "rng.h"
#include "tally.h"

enum { VALUES = 1 << 16, BATCHES = 400, PER_BATCH = 10000 };

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

/* As flow.c: issue(), flow_mark_sent(), complete(), flow_end_request(). */
static void record(struct tally *t, uint32_t at, bool open)
{
	uint64_t latency = values[at % VALUES], lag = values[(at + 7919) % VALUES] >> 4;

	t->scheduled++;
	if (open) {
		hist_record(&t->late, lag >> 1);
		hist_record(&t->lag, lag);
	}
	hist_record(&t->sent, latency);
	if (open)
		hist_record(&t->intended, latency + lag);
	t->completed++;
	t->classes[CLASS_OK]++;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median_cost_ns(struct tally *t, bool open)
{
	static double costs[BATCHES];
	uint32_t at = 0;

	for (int batch = 0; batch < BATCHES; batch++) {
		uint64_t begun = clock_now();
		for (int i = 0; i < PER_BATCH; i++) {
			record(t, at++, open);
			__asm__ volatile("" ::: "memory"); /* each request by itself, as in a run */
		}
		costs[batch] = (double)(clock_now() - begun) / PER_BATCH;
	}
	qsort(costs, BATCHES, sizeof(costs[0]), by_value);
	return costs[BATCHES / 2];
}

int main(void)
{
	struct tally *t = malloc(sizeof(*t));

	if (!t)
		return 1;
	draw();
	tally_init(t);
	double closed = median_cost_ns(t, false), open = median_cost_ns(t, true);
	printf("{\"closed_ns\": %.2f, \"open_ns\": %.2f, \"recorded\": %llu}\n", closed, open,
		(unsigned long long)t->sent.n);
	return tally_ended(t) == t->scheduled ? 0 : 1;
}
