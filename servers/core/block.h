/* Blocks: the bytes a connection holds. A free list per thread, so that no request allocates once the list is
 * warm.
 *
 * Two sizes. A connection holds at most two blocks, so BLOCK_LARGE is half of the 64 KiB that a connection
 * may cost where the server chooses how much it reads. A larger block is made only where the kernel chose the
 * amount (io_uring's multishot receive), and goes back to malloc instead of the list.
 */
#ifndef BLOCK_H
#define BLOCK_H

#include <stddef.h>
#include <stdint.h>

struct block {
	struct block *next;  /* in the free list only */
	uint32_t size;       /* bytes that data holds */
	uint32_t begin, end; /* the bytes in use: data[begin] to data[end - 1] */
	uint8_t data[];
};

enum {
	BLOCK_SMALL = 4096 - sizeof(struct block),
	BLOCK_LARGE = 32768 - sizeof(struct block),
};

struct blocks {
	struct block *small, *large;
};

/* An empty block with room for at least `size` bytes. Never NULL: without memory the process ends and says
 * so. */
struct block *block_get(struct blocks *, size_t size);

/* Makes a block of more than BLOCK_LARGE larger, with room for at least `size` bytes, and returns it. Such
 * memory is moved page by page and not copied: it is never there twice. */
struct block *block_enlarge(struct block *, size_t size);

/* Gives a block back; NULL is allowed. */
void block_put(struct blocks *, struct block *);

/* Frees all spare blocks but the first `keep` of each size. */
void blocks_trim(struct blocks *, size_t keep);

/* Frees what the list holds; blocks still lent out are not touched. */
void blocks_free(struct blocks *);

static inline size_t block_used(const struct block *block)
{
	return block ? block->end - block->begin : 0;
}

static inline size_t block_tail(const struct block *block)
{
	return block->size - block->end;
}

/* Appends n bytes, n <= block_tail(). */
void block_append(struct block *, const void *, size_t n);

#endif
