/* A log-linear histogram of nanoseconds: exact below 256 ns, above that 128 bins per power of two, so that a
 * bin is never wider than 1/128 (0.78 %) of its values. Up to 2^36 ns (68.7 s); what is longer is counted as
 * overflow. Minimum, maximum and sum are exact. A histogram belongs to one thread; merge after the run. */
#ifndef LOADGEN_HISTOGRAM_H
#define LOADGEN_HISTOGRAM_H

#include <stdint.h>

enum {
	HIST_SUB_BITS = 7,
	HIST_TOP_BITS = 36,
	HIST_BINS = (HIST_TOP_BITS - HIST_SUB_BITS + 1) << HIST_SUB_BITS,
};

/* The answer of a quantile whose rank falls among requests that never finished. */
#define HIST_INFINITE UINT64_MAX

struct histogram {
	uint64_t n;        /* values recorded, overflow included */
	uint64_t sum;      /* ns; 584 years before it wraps */
	uint64_t min, max; /* meaningful when n > 0 */
	uint64_t overflow; /* values of 2^HIST_TOP_BITS ns and more */
	uint64_t bins[HIST_BINS];
};

static inline uint32_t hist_index(uint64_t value)
{
	if (value < 2u << HIST_SUB_BITS)
		return (uint32_t)value;
	uint32_t shift = 63u - (uint32_t)__builtin_clzll(value) - HIST_SUB_BITS;
	return (shift << HIST_SUB_BITS) + (uint32_t)(value >> shift);
}

static inline void hist_record(struct histogram *h, uint64_t value)
{
	h->n++;
	h->sum += value;
	if (value < h->min)
		h->min = value;
	if (value > h->max)
		h->max = value;
	if (__builtin_expect(value >> HIST_TOP_BITS != 0, 0))
		h->overflow++;
	else
		h->bins[hist_index(value)]++;
}

void hist_init(struct histogram *h);
void hist_add(struct histogram *into, const struct histogram *from);

/* The smallest and the largest value of bin `index`. */
uint64_t hist_low(uint32_t index);
uint64_t hist_high(uint32_t index);

/* The value that `ppm` millionths of all requests do not exceed: the largest value of the bin that holds rank
 * ceil(ppm * (n + unfinished) / 1e6), and never more than the maximum. `unfinished` requests rank above every
 * recorded value: HIST_INFINITE when the rank falls among them. Needs n + unfinished > 0. */
uint64_t hist_quantile(const struct histogram *h, uint32_t ppm, uint64_t unfinished);

/* The same for any quantile from 0 to 1. */
uint64_t hist_quantile_at(const struct histogram *h, double quantile, uint64_t unfinished);

/* Of the recorded values; the deviation is taken from the middles of the bins. Both need n > 0. */
double hist_mean(const struct histogram *h);
double hist_stddev(const struct histogram *h);

#endif
