#include "ledger.h"

#include "block.h"

struct ledger ledger;

// The names are the linker's: --wrap=X calls __wrap_X for X, and X under the name of __real_X.
struct block *__real_block_get(struct blocks *blocks, size_t size);
struct block *__wrap_block_get(struct blocks *blocks, size_t size);
struct block *__real_block_enlarge(struct block *block, size_t size);
struct block *__wrap_block_enlarge(struct block *block, size_t size);
void __real_block_put(struct blocks *blocks, struct block *block);
void __wrap_block_put(struct blocks *blocks, struct block *block);
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size);

static struct block *held(struct block *block)
{
	ledger.held += sizeof *block + block->size;
	if (ledger.held > ledger.most_held)
		ledger.most_held = ledger.held;
	return block;
}

struct block *__wrap_block_get(struct blocks *blocks, size_t size)
{
	return held(__real_block_get(blocks, size));
}

struct block *__wrap_block_enlarge(struct block *block, size_t size)
{
	ledger.held -= sizeof *block + block->size;
	return held(__real_block_enlarge(block, size));
}

void __wrap_block_put(struct blocks *blocks, struct block *block)
{
	if (block)
		ledger.held -= sizeof *block + block->size;
	__real_block_put(blocks, block);
	if (ledger.eager_free)
		blocks_free(blocks);
}

void *__wrap_malloc(size_t size)
{
	ledger.allocations++;
	return __real_malloc(size);
}

void *__wrap_realloc(void *old, size_t size)
{
	ledger.allocations++;
	return __real_realloc(old, size);
}
