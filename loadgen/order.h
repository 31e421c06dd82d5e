/* Replies that came out of their turn: which are still to come, and which have been given. Exact as long as no
 * more than 64 requests are in flight on a connection. */
#ifndef LOADGEN_ORDER_H
#define LOADGEN_ORDER_H

#include <stdbool.h>
#include <stdint.h>

struct order {
	uint64_t missing, early; /* numbers modulo 64 that were passed over, and that came too soon */
};

/* Instead of the reply to `asked` that of request `seq` of the same connection came; requests up to `issued`
 * have been sent. True: it came out of its turn; false: it was given before, or never asked for. */
bool order_moved(struct order *o, uint64_t asked, uint64_t issued, uint64_t seq);

/* The reply to `asked` came, which had been given before. */
bool order_repeated(const struct order *o, uint64_t asked);

#endif
