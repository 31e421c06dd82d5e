/* How times are written on command lines; the options themselves are tested against whole servers.
 * Try: build/tests/unit/test_options */
#include "options.h"

#include "unit.h"

static void times_that_are_times(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		uint64_t ns;
	} times[] = {{"0", 0}, {"500ns", 500}, {"100us", 100000}, {"1ms", 1000000}, {"2s", 2000000000},
		{"2", 2000000000}, {"0.5", 500000000}, {"1.5ms", 1500000}, {".25us", 250}, {"1.s", 1000000000},
		{"007ms", 7000000}, {"0.1ns", 0}, {"0.6ns", 1}, {"0.3us", 300}, {"3600", 3600000000000},
		{"3600s", 3600000000000}, {"3600000000000ns", 3600000000000}};
	for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
		uint64_t ns = 42;
		if (!options_time(times[i].text, &ns) || ns != times[i].ns)
			fail_msg("'%s' read as %ju ns", times[i].text, (uintmax_t)ns);
	}
}

static void times_that_are_none(void **state)
{
	(void)state;
	static const char *const texts[] = {"", " ", "s", "ms", "-1", "+1", " 1", "1 ", "1 s", "1m", "1h", "1S",
		"1US", "1sec", "1e3", "1e3us", "0x10", "0x1p4", "inf", "nan", "infinity", ".", "..", "1.2.3",
		"1,5", "1..", "1s1", "3600.000001", "3601s", "99999999999999999999s",
		"99999999999999999999999999999999999999999999999999999999999999999999999999999999999999ns"};
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		uint64_t ns;
		if (options_time(texts[i], &ns))
			fail_msg("'%s' read as %ju ns", texts[i], (uintmax_t)ns);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(times_that_are_times),
		cmocka_unit_test(times_that_are_none),
	};
	return cmocka_run_group_tests_name("times", tests, NULL, NULL);
}
