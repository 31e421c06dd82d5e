/* Payloads that say whose they are. Message `seq` of connection `conn` is a pure function of both, so nothing
 * is kept per message: what is sent is made when it is sent, what comes back is compared with what must have
 * been sent.
 *
 * A message of at least PAYLOAD_HEAD bytes starts with a head (connection, sequence number and a check word),
 * by which a wrong reply can be told apart: damaged, another request's, an earlier one's, another connection's.
 * The rest, and all of a shorter message, is a stretch of one table of random bytes, starting where (conn, seq)
 * says. */
#ifndef LOADGEN_PAYLOAD_H
#define LOADGEN_PAYLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	PAYLOAD_HEAD = 16,
	PAYLOAD_PERIOD =
		1 << 14, /* the table repeats after this many bytes, beyond any message compared at once */
};

struct payload {
	uint64_t seed;
	uint8_t table[2 * PAYLOAD_PERIOD]; /* twice the period: a stretch up to PERIOD long is contiguous
					      anywhere */
};

struct payload_head {
	uint32_t check; /* ties the head to this run, this connection and this number */
	uint32_t conn;
	uint64_t seq;
};

void payload_init(struct payload *p, uint64_t seed);

struct payload_head payload_head(const struct payload *p, uint32_t conn, uint64_t seq);

/* Reads a head from PAYLOAD_HEAD bytes; false when they are no head of this run. */
bool payload_read_head(const struct payload *p, const uint8_t *bytes, struct payload_head *head);

/* Writes bytes [off, off + n) of message (conn, seq) of `size` bytes. */
void payload_fill(
	const struct payload *p, uint32_t conn, uint64_t seq, size_t size, size_t off, uint8_t *out, size_t n);

/* Are these bytes [off, off + n) of message (conn, seq)? */
bool payload_equal(const struct payload *p, uint32_t conn, uint64_t seq, size_t size, size_t off,
	const uint8_t *bytes, size_t n);

#endif
