/* The free lists of blocks. Try: build/tests/unit/test_block */
#include "block.h"

#include "ledger.h"
#include "unit.h"

static void blocks_come_in_two_sizes_and_larger_ones(void **state)
{
	(void)state;
	static const struct {
		size_t asked, got;
	} sizes[] = {{0, BLOCK_SMALL}, {1, BLOCK_SMALL}, {BLOCK_SMALL, BLOCK_SMALL},
		{BLOCK_SMALL + 1, BLOCK_LARGE}, {BLOCK_LARGE, BLOCK_LARGE}, {BLOCK_LARGE + 1, BLOCK_LARGE + 1},
		{1000000, 1000000}};
	struct blocks blocks = {0};
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		struct block *block = block_get(&blocks, sizes[i].asked);
		assert_int_equal(block->size, sizes[i].got);
		assert_int_equal(block_used(block), 0);
		assert_int_equal(block_tail(block), sizes[i].got);
		block_put(&blocks, block);
	}
	blocks_free(&blocks);
}

static void what_was_put_back_is_lent_again(void **state)
{
	(void)state;
	struct blocks blocks = {0};
	struct block *small = block_get(&blocks, 1), *large = block_get(&blocks, BLOCK_LARGE);
	block_append(small, "abc", 3);
	block_put(&blocks, small);
	block_put(&blocks, large);
	size_t allocations = ledger.allocations;
	assert_ptr_equal(block_get(&blocks, 2), small);
	assert_int_equal(block_used(small), 0);
	assert_ptr_equal(block_get(&blocks, BLOCK_SMALL + 1), large);
	assert_int_equal(ledger.allocations, allocations);
	assert_null(blocks.small);
	assert_null(blocks.large);
	struct block *another = block_get(&blocks, 2);
	assert_ptr_not_equal(another, small);
	block_put(&blocks, another);
	block_put(&blocks, small);
	block_put(&blocks, large);
	block_put(&blocks, NULL);
	blocks_free(&blocks);
	assert_null(blocks.small);
	assert_null(blocks.large);
}

static void larger_ones_are_not_kept(void **state)
{
	(void)state;
	struct blocks blocks = {0};
	block_put(&blocks, block_get(&blocks, BLOCK_LARGE + 1));
	assert_null(blocks.small);
	assert_null(blocks.large);
}

static void trimming_keeps_a_few_of_each(void **state)
{
	(void)state;
	struct blocks blocks = {0};
	struct block *lent[12];
	for (size_t i = 0; i < 12; i++)
		lent[i] = block_get(&blocks, i % 2 ? 1 : BLOCK_LARGE);
	for (size_t i = 0; i < 12; i++)
		block_put(&blocks, lent[i]);
	blocks_trim(&blocks, 2);
	assert_non_null(blocks.small->next);
	assert_null(blocks.small->next->next);
	assert_non_null(blocks.large->next);
	assert_null(blocks.large->next->next);
	blocks_trim(&blocks, 2);
	assert_non_null(blocks.small->next);
	blocks_trim(&blocks, 0);
	assert_null(blocks.small);
	assert_null(blocks.large);
}

static void appended_bytes_stand_in_order(void **state)
{
	(void)state;
	struct blocks blocks = {0};
	struct block *block = block_get(&blocks, BLOCK_SMALL);
	size_t fed = 0;
	for (size_t n = 1; n <= block_tail(block); n = n * 2 + 1) {
		uint8_t bytes[BLOCK_SMALL];
		for (size_t i = 0; i < n; i++)
			bytes[i] = (uint8_t)((fed + i) * 7);
		block_append(block, bytes, n);
		fed += n;
		assert_int_equal(block_used(block), fed);
		assert_int_equal(block_tail(block), BLOCK_SMALL - fed);
	}
	for (size_t i = 0; i < fed; i++)
		assert_int_equal(block->data[i], (uint8_t)(i * 7));
	block_put(&blocks, block);
	blocks_free(&blocks);
}

static void nothing_is_used_in_no_block(void **state)
{
	(void)state;
	assert_int_equal(block_used(NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks_come_in_two_sizes_and_larger_ones),
		cmocka_unit_test(what_was_put_back_is_lent_again),
		cmocka_unit_test(larger_ones_are_not_kept),
		cmocka_unit_test(trimming_keeps_a_few_of_each),
		cmocka_unit_test(appended_bytes_stand_in_order),
		cmocka_unit_test(nothing_is_used_in_no_block),
	};
	return cmocka_run_group_tests_name("blocks", tests, NULL, NULL);
}
