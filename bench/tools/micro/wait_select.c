/* select: the whole set goes in and comes out as bitmaps, by word; the kernel asks every descriptor. */
#include "waits.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>

enum { BITS = sizeof(unsigned long) * CHAR_BIT };

static unsigned long *wanted, *ready_set;
static unsigned *index_of; /* by descriptor */
static unsigned words;
static int limit;

static void watch(const int *fds, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		limit = fds[i] >= limit ? fds[i] + 1 : limit;
	words = ((unsigned)limit + BITS - 1) / BITS;
	wanted = zeroed(words, sizeof *wanted);
	ready_set = zeroed(words, sizeof *ready_set);
	index_of = zeroed((size_t)limit, sizeof *index_of);
	for (unsigned i = 0; i < count; i++) {
		wanted[fds[i] / BITS] |= 1UL << fds[i] % BITS;
		index_of[fds[i]] = i;
	}
}

static unsigned wait_once(unsigned *ready, unsigned room)
{
	memcpy(ready_set, wanted, words * sizeof *wanted);
	int left = select(limit, (fd_set *)ready_set, NULL, NULL, NULL);
	if (left < 0)
		fail("select");
	unsigned found = 0;
	for (unsigned word = 0; left > 0; word++)
		for (unsigned long bits = ready_set[word]; bits; bits &= bits - 1, left--)
			if (found < room)
				ready[found++] = index_of[word * BITS + (unsigned)__builtin_ctzl(bits)];
	return found;
}

static void unwatch(void)
{
	free(wanted);
	free(ready_set);
	free(index_of);
}

const struct way way_select = {
	"select", "bitmaps of all descriptors, both ways, in every call", watch, wait_once, NULL, unwatch};
