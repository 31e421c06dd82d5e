/* What the core allocates and lends out: the linker's --wrap sends its calls of block_get, block_enlarge,
 * block_put, malloc and realloc here first. A block that is put back is freed at once when ledger.eager_free is
 * set, so that AddressSanitizer sees any later use of it. */
#ifndef LEDGER_H
#define LEDGER_H

#include <stdbool.h>
#include <stddef.h>

struct ledger {
	size_t held;        /* bytes of the blocks lent out now, headers included */
	size_t most_held;   /* at any moment since the test set it to 0 */
	size_t allocations; /* calls of malloc and realloc */
	bool eager_free;
};

extern struct ledger ledger;

#endif
