/* The heap of deadlines against a plain array that is searched from end to end, with many equal deadlines.
 * Try: build/tests/unit/test_deadline */
#include "deadline.h"

#include "ledger.h"
#include "unit.h"

#include <stdlib.h>

enum { CLIENTS = 300, STEPS = 200000 };

static uint64_t seed;

static uint64_t up_to(uint64_t most) /* xorshift64: 0 to most - 1 */
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % most;
}

static struct deadline clients[CLIENTS];

/* The model: what the heap ought to hold. */
static uint64_t at_ns[CLIENTS];
static bool set[CLIENTS];

static uint64_t earliest(void)
{
	uint64_t first = UINT64_MAX;
	for (size_t i = 0; i < CLIENTS; i++)
		if (set[i] && at_ns[i] < first)
			first = at_ns[i];
	return first;
}

static void assert_wait(const struct deadlines *deadlines, uint64_t now_ns)
{
	struct timespec wait;
	uint64_t first = earliest();
	if (first == UINT64_MAX) {
		assert_null(deadline_wait(deadlines, now_ns, &wait));
		return;
	}
	assert_ptr_equal(deadline_wait(deadlines, now_ns, &wait), &wait);
	assert_in_range(wait.tv_nsec, 0, 999999999);
	uint64_t wait_ns = (uint64_t)wait.tv_sec * 1000000000 + (uint64_t)wait.tv_nsec;
	assert_int_equal(wait_ns, first > now_ns ? first - now_ns : 0);
}

/* Whatever expires is due and the earliest; whatever is due expires. */
static void expire(struct deadlines *deadlines, uint64_t now_ns)
{
	struct deadline *expired;
	while ((expired = deadline_expired(deadlines, now_ns))) {
		size_t i = (size_t)(expired - clients);
		assert_true(i < CLIENTS && set[i]);
		assert_int_equal(at_ns[i], earliest());
		assert_true(at_ns[i] <= now_ns);
		assert_false(deadline_is_set(expired));
		set[i] = false;
	}
	assert_true(earliest() > now_ns);
}

static void it_agrees_with_a_plain_search(void **state)
{
	(void)state;
	static const uint64_t spreads[] = {3, 1000, UINT64_C(5000000000), UINT64_MAX / 4};
	for (size_t round = 0; round < sizeof spreads / sizeof spreads[0]; round++) {
		struct deadlines deadlines = {0};
		uint64_t now_ns = 0;
		seed = round + 1;
		for (int step = 0; step < STEPS / 4; step++) {
			size_t i = up_to(CLIENTS);
			if (!set[i] && up_to(3)) {
				at_ns[i] = now_ns + up_to(spreads[round]);
				deadline_set(&deadlines, &clients[i], at_ns[i]);
				set[i] = true;
			} else if (up_to(2)) {
				deadline_clear(&deadlines, &clients[i]);
				set[i] = false;
			} else if (up_to(20) == 0 && now_ns < UINT64_MAX / 4) {
				now_ns += up_to(spreads[round] / 2 + 1);
				expire(&deadlines, now_ns);
			}
			assert_int_equal(deadline_is_set(&clients[i]), set[i]);
			assert_wait(&deadlines, now_ns);
		}
		expire(&deadlines, UINT64_MAX - 1);
		assert_int_equal(deadlines.count, 0);
		deadlines_free(&deadlines);
	}
}

static void it_is_never_early(void **state)
{
	(void)state;
	struct deadlines deadlines = {0};
	struct deadline one = {0};
	struct timespec wait;
	deadline_set(&deadlines, &one, 5000000001);
	assert_null(deadline_expired(&deadlines, 0));
	assert_null(deadline_expired(&deadlines, 5000000000));
	assert_int_equal(deadline_wait(&deadlines, 5000000000, &wait)->tv_nsec, 1);
	assert_ptr_equal(deadline_expired(&deadlines, 5000000001), &one);
	assert_null(deadline_expired(&deadlines, UINT64_MAX));
	assert_null(deadline_wait(&deadlines, 0, &wait));
	deadlines_free(&deadlines);
}

static void clearing_what_is_not_set_does_nothing(void **state)
{
	(void)state;
	struct deadlines deadlines = {0};
	struct deadline one = {0}, other = {0};
	deadline_clear(&deadlines, &one);
	deadline_set(&deadlines, &other, 1);
	deadline_clear(&deadlines, &one);
	assert_true(deadline_is_set(&other));
	deadline_clear(&deadlines, &other);
	assert_false(deadline_is_set(&other));
	deadlines_free(&deadlines);
}

/* Descending, so that each one travels to the top; the array is grown by doubling. */
static void ten_thousand_at_once_allocate_seldom(void **state)
{
	(void)state;
	enum { MANY = 10000 };
	static struct deadline many[MANY];
	struct deadlines deadlines = {0};
	size_t before = ledger.allocations;
	for (size_t i = 0; i < MANY; i++)
		deadline_set(&deadlines, &many[i], MANY - i);
	assert_true(ledger.allocations - before <= 9);
	for (size_t i = MANY; i-- > 0;)
		assert_ptr_equal(deadline_expired(&deadlines, MANY), &many[i]);
	deadlines_free(&deadlines);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_agrees_with_a_plain_search),
		cmocka_unit_test(it_is_never_early),
		cmocka_unit_test(clearing_what_is_not_set_does_nothing),
		cmocka_unit_test(ten_thousand_at_once_allocate_seldom),
	};
	return cmocka_run_group_tests_name("deadlines", tests, NULL, NULL);
}
