/* Work is linear in its rounds: twice the rounds, twice the CPU time. Absolute times differ from host to host,
 * and calibrated figures from run to run; ratios on this thread's CPU clock do not. Try:
 * build/tests/unit/test_work */
#include "work.h"

#include "unit.h"

#include <time.h>

static uint64_t cpu_ns(uint64_t loops)
{
	struct timespec begin, end;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
	work_burn(loops);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
	return (uint64_t)(end.tv_sec - begin.tv_sec) * 1000000000 + (uint64_t)(end.tv_nsec - begin.tv_nsec);
}

/* The fastest of many: a neighbour on the other hardware thread only ever slows one down. */
static uint64_t fastest_ns(uint64_t loops)
{
	uint64_t best = UINT64_MAX;
	for (int trial = 0; trial < 40; trial++) {
		uint64_t ns = cpu_ns(loops);
		if (ns < best)
			best = ns;
	}
	return best;
}

static void work_is_linear(void **state)
{
	(void)state;
	uint64_t once = fastest_ns(500000), twice = fastest_ns(1000000), eight_times = fastest_ns(4000000);
	if (twice < once * 3 / 2 || twice > once * 3 || eight_times < once * 5 || eight_times > once * 13)
		fail_msg("%ju ns for 500,000 rounds, %ju for twice and %ju for eight times as many",
			(uintmax_t)once, (uintmax_t)twice, (uintmax_t)eight_times);
}

static void no_work_returns(void **state)
{
	(void)state;
	work_burn(0);
	work_burn(1);
}

/* A round is a multiplication and an addition, one after the other: between 3 and 10 cycles on any CPU of
 * today. */
static void calibration_is_plausible(void **state)
{
	(void)state;
	assert_in_range(work_calibrate(), 10, 5000);
}

/* What it says is what work costs by this thread's clock, however many others want the CPU. */
static void calibration_agrees_with_the_cpu_clock(void **state)
{
	(void)state;
	uint64_t best_ns = fastest_ns(1000000), expected = UINT64_C(1000000000) / best_ns;
	uint64_t calibrated = 0;
	for (int trial = 0; trial < 5 && calibrated < expected * 3 / 4; trial++)
		calibrated = work_calibrate();
	assert_in_range(calibrated, expected * 3 / 4, expected * 4 / 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(work_is_linear),
		cmocka_unit_test(no_work_returns),
		cmocka_unit_test(calibration_is_plausible),
		cmocka_unit_test(calibration_agrees_with_the_cpu_clock),
	};
	return cmocka_run_group_tests_name("work", tests, NULL, NULL);
}
