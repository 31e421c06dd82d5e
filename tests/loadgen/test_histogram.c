/* The histogram against plain arithmetic and a sorted array. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "histogram.h"
#include "rng.h"

enum { VALUES = 20000 };

/* Every value belongs to exactly one bin, bins touch, and none is wider than 1/128 of its smallest value. */
static void bins_cover_everything(void **state)
{
	(void)state;
	assert_int_equal(hist_low(0), 0);
	for (uint32_t i = 0; i < HIST_BINS; i++) {
		uint64_t low = hist_low(i), high = hist_high(i);
		assert_true(low <= high);
		assert_int_equal(hist_index(low), i);
		assert_int_equal(hist_index(high), i);
		assert_true((high - low + 1) * 128 <= low || low == high);
		if (i + 1 < HIST_BINS)
			assert_int_equal(high + 1, hist_low(i + 1));
	}
	assert_int_equal(hist_high(HIST_BINS - 1), (UINT64_C(1) << HIST_TOP_BITS) - 1);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Spread over all magnitudes that a latency can have. */
static uint64_t some_latency(struct rng *rng)
{
	return rng_next(rng) >> (28 + rng_next(rng) % 36);
}

static void fill(struct histogram *h, uint64_t *values, uint64_t seed)
{
	struct rng rng;

	rng_init(&rng, seed, 0);
	hist_init(h);
	for (int i = 0; i < VALUES; i++) {
		values[i] = some_latency(&rng);
		hist_record(h, values[i]);
	}
	qsort(values, VALUES, sizeof(*values), by_value);
}

static void quantiles_follow_a_sorted_array(void **state)
{
	static const uint32_t ppm[] = {0, 1, 500000, 750000, 900000, 990000, 999000, 999900, 999999, 1000000};
	static struct histogram h;
	static uint64_t values[VALUES];

	(void)state;
	fill(&h, values, 7);
	for (size_t i = 0; i < sizeof(ppm) / sizeof(ppm[0]); i++) {
		uint64_t rank = ((uint64_t)VALUES * ppm[i] + 999999) / 1000000;
		uint64_t exact = values[rank ? rank - 1 : 0], told = hist_quantile(&h, ppm[i], 0);
		assert_true(told >= exact);
		assert_true(told - exact <= exact / 128);
		assert_int_equal(told, hist_quantile_at(&h, ppm[i] / 1e6, 0));
	}
	assert_int_equal(h.min, values[0]);
	assert_int_equal(h.max, values[VALUES - 1]);
	assert_int_equal(hist_quantile(&h, 1000000, 0), h.max);
}

static void moments_are_right(void **state)
{
	static struct histogram h;
	static uint64_t values[VALUES];
	uint64_t sum = 0;

	(void)state;
	fill(&h, values, 8);
	for (int i = 0; i < VALUES; i++)
		sum += values[i];
	assert_int_equal(h.sum, sum);
	assert_true(hist_mean(&h) == (double)sum / VALUES);
	double squares = 0;
	for (int i = 0; i < VALUES; i++)
		squares += ((double)values[i] - hist_mean(&h)) * ((double)values[i] - hist_mean(&h));
	double variance = hist_stddev(&h) * hist_stddev(&h) * VALUES;
	assert_true(variance > 0.98 * squares && variance < 1.02 * squares);
}

static void merging_equals_one_histogram(void **state)
{
	static struct histogram one, halves[2];
	static uint64_t values[VALUES];

	(void)state;
	fill(&one, values, 9);
	hist_init(&halves[0]);
	hist_init(&halves[1]);
	for (int i = 0; i < VALUES; i++)
		hist_record(&halves[i % 3 == 0], values[i]);
	hist_add(&halves[0], &halves[1]);
	assert_memory_equal(&halves[0], &one, sizeof(one));
}

static void unfinished_requests_rank_above_all(void **state)
{
	static struct histogram h;

	(void)state;
	hist_init(&h);
	for (uint64_t i = 1; i <= 90; i++)
		hist_record(&h, i);
	assert_int_equal(hist_quantile(&h, 500000, 10), 50);
	assert_int_equal(hist_quantile(&h, 900000, 10), 90);
	assert_int_equal(hist_quantile(&h, 900001, 10), HIST_INFINITE);
	assert_int_equal(hist_quantile(&h, 1000000, 10), HIST_INFINITE);
	hist_init(&h);
	assert_int_equal(hist_quantile(&h, 1, 1), HIST_INFINITE);
}

static void what_is_too_long_is_counted(void **state)
{
	static struct histogram h;
	uint64_t top = UINT64_C(1) << HIST_TOP_BITS;

	(void)state;
	hist_init(&h);
	hist_record(&h, top - 1);
	assert_int_equal(h.overflow, 0);
	hist_record(&h, top);
	hist_record(&h, 3 * top);
	assert_int_equal(h.overflow, 2);
	assert_int_equal(h.n, 3);
	assert_int_equal(h.max, 3 * top);
	assert_int_equal(hist_quantile(&h, 333333, 0), top - 1);
	assert_int_equal(hist_quantile(&h, 1000000, 0), 3 * top);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bins_cover_everything),
		cmocka_unit_test(quantiles_follow_a_sorted_array),
		cmocka_unit_test(moments_are_right),
		cmocka_unit_test(merging_equals_one_histogram),
		cmocka_unit_test(unfinished_requests_rank_above_all),
		cmocka_unit_test(what_is_too_long_is_counted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
