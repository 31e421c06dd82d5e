/* Replies with generated bodies: what http and frame have in common. A body is a piece of one endless pattern
 * in constant memory: what fits behind its head is copied, so that both leave in one send; the rest is lent. */
#ifndef BODY_H
#define BODY_H

#include "conn.h"

/* May another reply be written behind what is owed? Not while a pause or a body is to come first, and not
 * without room for a head: then requests wait until all is sent, and are not looked at before, or every byte
 * that comes behind them would have them parsed again. */
bool body_ready(const struct conn *, size_t head_room);

/* The block for a reply of `size` bytes, head and body; it has room for the head. Large where that spares a
 * send: for a body that fits, and for `more` requests behind this one. */
struct block *body_block(struct conn *, uint64_t size, bool more);

/* Owes the bytes `at` to `end` of the pattern behind what the block has. */
void body_write(struct conn *, struct block *, uint64_t at, uint64_t end);

/* The same bytes in place, as far as one span reaches. */
struct span body_span(uint64_t at, uint64_t end);

#endif
