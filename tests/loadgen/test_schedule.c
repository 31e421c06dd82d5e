/* The plan of arrivals: exact, free of drift, and of the right distribution. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "clock.h"
#include "schedule.h"

static const uint64_t START_NS = UINT64_C(123456789012345);

static struct profile profile_of(const char *text, uint64_t rest_ns)
{
	struct profile p;

	assert_true(profile_parse(&p, text, rest_ns));
	return p;
}

/* Request i of a constant rate is due at exactly i / rate, to the nanosecond, after an hour as in the first
 * second. */
static void constant_arrivals_do_not_drift(void **state)
{
	struct profile p = profile_of("3000", 3600 * NS_PER_S);
	struct schedule s;
	uint64_t i = 0;

	(void)state;
	schedule_init(&s, &p, START_NS, 0, (struct share){1, 0, 1}, (struct arrivals){false, 1, 1});
	for (; s.next_ns != CLOCK_NEVER; i++, schedule_advance(&s)) {
		if (i % 997 == 0 || i > 10799000)
			assert_in_range(s.next_ns - START_NS, i * 1000000 / 3, i * 1000000 / 3 + 1);
	}
	assert_int_equal(i, 3000 * 3600);
}

/* The threads' shares interlock into the one constant schedule. */
static void threads_interlock(void **state)
{
	struct profile p = profile_of("1k", NS_PER_S);
	struct schedule threads[4];
	uint64_t requests = 0;

	(void)state;
	for (uint32_t t = 0; t < 4; t++)
		schedule_init(
			&threads[t], &p, 0, 0, (struct share){0.25, t, 4}, (struct arrivals){false, 1, t + 1});
	for (uint64_t due_ns = 0; due_ns < NS_PER_S; due_ns += NS_PER_MS, requests++) {
		assert_int_equal(threads[requests % 4].next_ns, due_ns);
		schedule_advance(&threads[requests % 4]);
	}
	for (uint32_t t = 0; t < 4; t++)
		assert_int_equal(threads[t].next_ns, CLOCK_NEVER);
}

/* In a ramp from a to b, (a + b) / 2 * T requests are due, and the n-th when the area under the rate is n. */
static void ramps_follow_the_area(void **state)
{
	struct profile p = profile_of("1k:3k:2s,3k:1s,3k:0.5k:1s", 0);
	struct schedule s;
	uint64_t requests = 0;

	(void)state;
	assert_int_equal(profile_length_ns(&p), 4 * NS_PER_S);
	assert_true(fabs(profile_requests(&p) - (4000 + 3000 + 1750)) < 1e-6);
	schedule_init(&s, &p, START_NS, 0, (struct share){1, 0, 1}, (struct arrivals){false, 1, 1});
	for (; s.next_ns != CLOCK_NEVER; requests++, schedule_advance(&s)) {
		double t = (double)(s.next_ns - START_NS) / 1e9, area;
		if (t <= 2)
			area = 1000 * t + 500 * t * t;
		else if (t <= 3)
			area = 4000 + 3000 * (t - 2);
		else
			area = 7000 + 3000 * (t - 3) - 1250 * (t - 3) * (t - 3);
		assert_true(fabs(area - (double)requests) < 1e-3);
	}
	assert_int_equal(requests, 8750);
}

static void the_warm_up_comes_first(void **state)
{
	struct profile p = profile_of("100:2s", 0);
	struct schedule s;
	uint64_t before = 0, inside = 0;

	(void)state;
	schedule_init(&s, &p, START_NS, NS_PER_S, (struct share){1, 0, 1}, (struct arrivals){false, 1, 1});
	for (; s.next_ns != CLOCK_NEVER; schedule_advance(&s)) {
		if (s.next_ns < START_NS + NS_PER_S)
			before++;
		else
			inside++;
	}
	assert_int_equal(before, 100);
	assert_int_equal(inside, 200);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* The largest distance between the empirical distribution of n gaps and the exponential one (Kolmogorov,
 * Smirnov). */
static double distance_to_exponential(double *gaps, int n, double rate)
{
	double largest = 0;

	qsort(gaps, (size_t)n, sizeof(*gaps), by_value);
	for (int i = 0; i < n; i++) {
		double f = 1 - exp(-rate * gaps[i]), above = fabs(f - (double)i / n),
		       below = fabs(f - (i + 1.0) / n);
		largest = fmax(largest, fmax(above, below));
	}
	return largest;
}

static void poisson_gaps_are_exponential(void **state)
{
	enum { GAPS = 50000 };
	static double gaps[GAPS];
	struct profile p = profile_of("20k", 60 * NS_PER_S);
	struct schedule s;

	(void)state;
	for (uint64_t seed = 1; seed <= 5; seed++) {
		schedule_init(&s, &p, START_NS, 0, (struct share){1, 0, 1}, (struct arrivals){true, seed, 1});
		for (int i = 0; i < GAPS; i++) {
			uint64_t before = s.next_ns;
			schedule_advance(&s);
			gaps[i] = (double)(s.next_ns - before) / 1e9;
		}
		/* 1.95 / sqrt(n): a correct sampler fails this once in a thousand seeds; these five are fixed.
		 */
		assert_true(distance_to_exponential(gaps, GAPS, 20000) < 1.95 / sqrt(GAPS));
	}
}

static void seeds_and_threads_differ_and_repeat(void **state)
{
	struct profile p = profile_of("1k", NS_PER_S);
	struct schedule a, b, other_seed, other_thread;

	(void)state;
	schedule_init(&a, &p, 0, 0, (struct share){1, 0, 2}, (struct arrivals){true, 5, 1});
	schedule_init(&b, &p, 0, 0, (struct share){1, 0, 2}, (struct arrivals){true, 5, 1});
	schedule_init(&other_seed, &p, 0, 0, (struct share){1, 0, 2}, (struct arrivals){true, 6, 1});
	schedule_init(&other_thread, &p, 0, 0, (struct share){1, 1, 2}, (struct arrivals){true, 5, 2});
	assert_int_not_equal(a.next_ns, other_seed.next_ns);
	assert_int_not_equal(a.next_ns, other_thread.next_ns);
	for (int i = 0; i < 500; i++, schedule_advance(&a), schedule_advance(&b))
		assert_int_equal(a.next_ns, b.next_ns);
}

static void nonsense_is_refused(void **state)
{
	static const char *const texts[] = {"", "0", "-5", "1k:", "1k:5", "x", "1k,2k", "1k:2k", "1k:2k:3s:4s",
		"1k:0s", "nan", "1e400", "0x10", "1k:5s,"};
	struct profile p;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (i == 4) /* a bare number is seconds: 1k for 5 s */
			assert_true(profile_parse(&p, texts[i], NS_PER_S));
		else
			assert_false(profile_parse(&p, texts[i], NS_PER_S));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(constant_arrivals_do_not_drift),
		cmocka_unit_test(threads_interlock),
		cmocka_unit_test(ramps_follow_the_area),
		cmocka_unit_test(the_warm_up_comes_first),
		cmocka_unit_test(poisson_gaps_are_exponential),
		cmocka_unit_test(seeds_and_threads_differ_and_repeat),
		cmocka_unit_test(nonsense_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
