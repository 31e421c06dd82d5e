#include "payload.h"

#include <string.h>

#include "rng.h"

/* A good mixer of 64 bits (the finaliser of splitmix64): neighbours in, unrelated values out. */
static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

static uint64_t key_of(const struct payload *p, uint32_t conn, uint64_t seq)
{
	return mix(seq + mix(p->seed + mix(conn + UINT64_C(1))));
}

void payload_init(struct payload *p, uint64_t seed)
{
	struct rng rng;

	rng_init(&rng, seed, 0);
	p->seed = seed;
	for (size_t i = 0; i < PAYLOAD_PERIOD; i++)
		p->table[i] = p->table[i + PAYLOAD_PERIOD] = (uint8_t)(rng_next(&rng) >> 56);
}

struct payload_head payload_head(const struct payload *p, uint32_t conn, uint64_t seq)
{
	return (struct payload_head){.check = (uint32_t)(key_of(p, conn, seq) >> 32), .conn = conn, .seq = seq};
}

bool payload_read_head(const struct payload *p, const uint8_t *bytes, struct payload_head *head)
{
	memcpy(head, bytes, sizeof(*head));
	return head->check == payload_head(p, head->conn, head->seq).check;
}

/* Byte `off` of a message stands at this place of the table. */
static const uint8_t *stretch(const struct payload *p, uint32_t conn, uint64_t seq, size_t off)
{
	return p->table + ((key_of(p, conn, seq) + off) & (PAYLOAD_PERIOD - 1));
}

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

void payload_fill(
	const struct payload *p, uint32_t conn, uint64_t seq, size_t size, size_t off, uint8_t *out, size_t n)
{
	if (size >= PAYLOAD_HEAD && off < PAYLOAD_HEAD) {
		struct payload_head head = payload_head(p, conn, seq);
		size_t part = smaller(n, PAYLOAD_HEAD - off);
		memcpy(out, (const uint8_t *)&head + off, part);
		out += part, off += part, n -= part;
	}
	while (n > 0) {
		size_t part = smaller(n, PAYLOAD_PERIOD);
		memcpy(out, stretch(p, conn, seq, off), part);
		out += part, off += part, n -= part;
	}
}

bool payload_equal(const struct payload *p, uint32_t conn, uint64_t seq, size_t size, size_t off,
	const uint8_t *bytes, size_t n)
{
	if (size >= PAYLOAD_HEAD && off < PAYLOAD_HEAD) {
		struct payload_head head = payload_head(p, conn, seq);
		size_t part = smaller(n, PAYLOAD_HEAD - off);
		if (memcmp(bytes, (const uint8_t *)&head + off, part) != 0)
			return false;
		bytes += part, off += part, n -= part;
	}
	while (n > 0) {
		size_t part = smaller(n, PAYLOAD_PERIOD);
		if (memcmp(bytes, stretch(p, conn, seq, off), part) != 0)
			return false;
		bytes += part, off += part, n -= part;
	}
	return true;
}
