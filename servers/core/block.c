#include "block.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* New memory if `old` is NULL. */
static struct block *allocate(struct block *old, size_t bytes)
{
	assert(bytes <= UINT32_MAX);
	struct block *block = realloc(old, sizeof *block + bytes);
	if (!block) {
		fprintf(stderr, "out of memory: no %zu bytes for a connection; serve fewer at once\n", bytes);
		abort();
	}
	block->size = (uint32_t)bytes;
	return block;
}

struct block *block_get(struct blocks *blocks, size_t size)
{
	struct block **list = size <= BLOCK_SMALL ? &blocks->small : &blocks->large;
	struct block *block = size <= BLOCK_LARGE ? *list : NULL;
	if (block) {
		*list = block->next;
	} else {
		block = allocate(NULL, size <= BLOCK_SMALL   ? BLOCK_SMALL
				       : size <= BLOCK_LARGE ? BLOCK_LARGE
							     : size);
	}
	block->begin = block->end = 0;
	return block;
}

struct block *block_enlarge(struct block *block, size_t size)
{
	assert(block->size > BLOCK_LARGE && size >= block->size);
	return allocate(block, size);
}

void block_put(struct blocks *blocks, struct block *block)
{
	if (!block)
		return;
	if (block->size > BLOCK_LARGE) {
		free(block);
		return;
	}
	struct block **list = block->size == BLOCK_SMALL ? &blocks->small : &blocks->large;
	block->next = *list;
	*list = block;
}

static void list_free(struct block *block)
{
	while (block) {
		struct block *next = block->next;
		free(block);
		block = next;
	}
}

static void list_trim(struct block **list, size_t keep)
{
	while (*list && keep-- > 0)
		list = &(*list)->next;
	list_free(*list);
	*list = NULL;
}

void blocks_trim(struct blocks *blocks, size_t keep)
{
	list_trim(&blocks->small, keep);
	list_trim(&blocks->large, keep);
}

void blocks_free(struct blocks *blocks)
{
	list_free(blocks->small);
	list_free(blocks->large);
	*blocks = (struct blocks){0};
}

void block_append(struct block *block, const void *data, size_t n)
{
	assert(n <= block_tail(block));
	memcpy(block->data + block->end, data, n);
	block->end += (uint32_t)n;
}
