#include "body.h"

#include <assert.h>

#define PATTERN_64  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
#define TIMES_4(s)  s s s s
#define TIMES_64(s) TIMES_4(TIMES_4(TIMES_4(s)))

/* 1,025 periods: 64 KiB can be lent from any place in the first one. */
enum { PATTERN_PERIOD = 64, PATTERN_SPAN = 65536 };
static const char pattern[] = TIMES_4(TIMES_4(TIMES_64(PATTERN_64))) PATTERN_64;
static_assert(sizeof pattern - 1 == PATTERN_SPAN + PATTERN_PERIOD, "a span must fit behind any start");

struct span body_span(uint64_t at, uint64_t end)
{
	uint64_t left = end > at ? end - at : 0;
	size_t len = left < PATTERN_SPAN ? (size_t)left : PATTERN_SPAN;
	return (struct span){(const uint8_t *)pattern + at % PATTERN_PERIOD, len};
}

bool body_ready(const struct conn *conn, size_t head_room)
{
	return conn->pause.kind == PAUSE_NONE && conn->body_at == conn->body_end && !conn->closing &&
	       (!conn->out || block_tail(conn->out) >= head_room);
}

struct block *body_block(struct conn *conn, uint64_t size, bool more)
{
	if (!conn->out)
		conn->out = block_get(&conn->core->blocks,
			size <= BLOCK_LARGE && (more || size > BLOCK_SMALL) ? BLOCK_LARGE : BLOCK_SMALL);
	return conn->out;
}

void body_write(struct conn *conn, struct block *out, uint64_t at, uint64_t end)
{
	conn->body_end = end;
	for (conn->body_at = at; conn->body_at < end;) {
		struct span body = body_span(conn->body_at, end);
		size_t n = body.len < block_tail(out) ? body.len : block_tail(out);
		if (n == 0)
			return;
		block_append(out, body.data, n);
		conn->body_at += n;
	}
}
