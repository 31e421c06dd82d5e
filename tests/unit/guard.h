/* Input that ends, or begins, exactly at memory that may not be touched: a read of one byte too many faults. */
#ifndef GUARD_H
#define GUARD_H

#include <stddef.h>
#include <stdint.h>

enum { GUARD_SIZE = 1 << 20 }; /* the most that can be placed */

/* Copies the bytes so that the last stands right before the forbidden page, or the first right behind it. The
 * copy lasts until the next one. */
uint8_t *guard_before(const void *data, size_t n);
uint8_t *guard_behind(const void *data, size_t n);

#endif
