#include "guard.h"

#include <assert.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static uint8_t *first; /* GUARD_SIZE bytes between two forbidden pages */

static void set_up(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint8_t *all = mmap(NULL, GUARD_SIZE + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert(all != MAP_FAILED);
	first = all + page;
	assert(mprotect(first, GUARD_SIZE, PROT_READ | PROT_WRITE) == 0);
}

static uint8_t *place(size_t at, const void *data, size_t n)
{
	return n ? memcpy(first + at, data, n) : first + at;
}

uint8_t *guard_before(const void *data, size_t n)
{
	assert(n <= GUARD_SIZE);
	if (!first)
		set_up();
	return place(GUARD_SIZE - n, data, n);
}

uint8_t *guard_behind(const void *data, size_t n)
{
	assert(n <= GUARD_SIZE);
	if (!first)
		set_up();
	return place(0, data, n);
}
