/* The seam inside the core: conn.c owns the connection's state, a protocol turns input into owed output. */
#ifndef PROTOCOL_H
#define PROTOCOL_H

#include "conn.h"

/* Takes as much of the input as it can serve now and returns how much it took; the rest is given again, with
 * whatever came after it, once nothing holds it up: not before conn->out and the generated body are sent, and
 * the pause is done. Not called while conn->closing. */
size_t greet_take(struct conn *, const uint8_t *data, size_t n);
size_t http_take(struct conn *, const uint8_t *data, size_t n);

/* The peer sends no more; the input the protocol left is incomplete for good. */
void greet_eof(struct conn *);

/* The pause is over: write the reply that waited for it. */
void greet_resume(struct conn *);
void http_resume(struct conn *);

/* Part of a generated body: bytes `at` to `end` of the endless pattern, as far as one span reaches. */
struct span http_body(uint64_t at, uint64_t end);

#endif
