#include "histogram.h"

#include <assert.h>
#include <math.h>
#include <string.h>

void hist_init(struct histogram *h)
{
	memset(h, 0, sizeof(*h));
	h->min = UINT64_MAX;
}

void hist_add(struct histogram *into, const struct histogram *from)
{
	into->n += from->n;
	into->sum += from->sum;
	into->overflow += from->overflow;
	if (from->min < into->min)
		into->min = from->min;
	if (from->max > into->max)
		into->max = from->max;
	for (uint32_t i = 0; i < HIST_BINS; i++)
		into->bins[i] += from->bins[i];
}

uint64_t hist_low(uint32_t index)
{
	assert(index < HIST_BINS);
	if (index < 2u << HIST_SUB_BITS)
		return index;
	uint32_t shift = (index >> HIST_SUB_BITS) - 1;
	uint64_t significant = (index & ((1u << HIST_SUB_BITS) - 1)) | (1u << HIST_SUB_BITS);
	return significant << shift;
}

uint64_t hist_high(uint32_t index)
{
	return index + 1 < HIST_BINS ? hist_low(index + 1) - 1 : (1ULL << HIST_TOP_BITS) - 1;
}

/* The value of this rank, counted from 1. */
static uint64_t value_of_rank(const struct histogram *h, uint64_t rank)
{
	uint64_t seen = 0;

	if (rank == 0)
		rank = 1;
	if (rank > h->n)
		return HIST_INFINITE;
	for (uint32_t i = 0; i < HIST_BINS; i++) {
		seen += h->bins[i];
		if (seen >= rank)
			return hist_high(i) < h->max ? hist_high(i) : h->max;
	}
	/* An overflowed value: its bin is unknown, the maximum is the only bound that is certainly not below
	 * it. */
	return h->max;
}

uint64_t hist_quantile(const struct histogram *h, uint32_t ppm, uint64_t unfinished)
{
	unsigned __int128 all = h->n + unfinished;

	assert(all > 0 && ppm <= 1000000);
	return value_of_rank(h, (uint64_t)((all * ppm + 999999) / 1000000));
}

uint64_t hist_quantile_at(const struct histogram *h, double quantile, uint64_t unfinished)
{
	uint64_t all = h->n + unfinished;

	assert(all > 0 && quantile >= 0 && quantile <= 1);
	return value_of_rank(h, (uint64_t)ceil(quantile * (double)all));
}

double hist_mean(const struct histogram *h)
{
	return (double)h->sum / (double)h->n;
}

double hist_stddev(const struct histogram *h)
{
	double mean = hist_mean(h), squares = 0;

	for (uint32_t i = 0; i < HIST_BINS; i++) {
		double middle = ((double)hist_low(i) + (double)hist_high(i)) / 2;
		squares += (double)h->bins[i] * (middle - mean) * (middle - mean);
	}
	squares += (double)h->overflow * ((double)h->max - mean) * ((double)h->max - mean);
	return sqrt(squares / (double)h->n);
}
