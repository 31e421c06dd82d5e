#include "conn.h"

#include "body.h"
#include "protocol.h"

#include <assert.h>
#include <string.h>

static_assert(sizeof(struct conn) <= 128, "an idle connection costs at most 128 bytes here");
static_assert(2 * (sizeof(struct block) + BLOCK_LARGE) <= 65536, "two blocks are a connection's 64 KiB");

void conn_open(struct conn *conn, struct core *core)
{
	*conn = (struct conn){.core = core};
}

void conn_move(struct conn *conn, struct core *core)
{
	conn->core = core;
	blocks_trim(&core->blocks, 2);
}

/* What turns input into output; for echo nothing needs to. */
static const struct {
	size_t (*take)(struct conn *, const uint8_t *data, size_t n);
	void (*resume)(struct conn *);
} protocols[] = {
	[PROTOCOL_GREET] = {greet_take, greet_resume},
	[PROTOCOL_HTTP] = {http_take, http_resume},
	[PROTOCOL_FRAME] = {frame_take, frame_resume},
};

static bool owes(const struct conn *conn)
{
	return block_used(conn->out) > 0 || conn->body_at < conn->body_end;
}

/* Input behind a pause or a generated body waits, because its replies would stand behind theirs. */
static bool blocked(const struct conn *conn)
{
	return conn->pause.kind != PAUSE_NONE || conn->body_at < conn->body_end;
}

static size_t take(struct conn *conn, const uint8_t *data, size_t n)
{
	return protocols[conn->core->protocol].take(conn, data, n);
}

/* Room for n bytes more behind the input that is held: it moves down, or into a larger block, which it may, as
 * it is never lent. Beyond BLOCK_LARGE only where the kernel chose the amount. */
static void make_room(struct conn *conn, size_t n)
{
	struct block *in = conn->in;
	size_t used = block_used(in), size = used + n > BLOCK_LARGE ? 2 * (used + n) : used + n;
	if (in && in->size > BLOCK_LARGE && in->size < used + n)
		in = conn->in = block_enlarge(in, size);
	if (in && in->size >= used + n) {
		memmove(in->data, in->data + in->begin, used);
		in->begin = 0;
		in->end = (uint32_t)used;
		return;
	}
	conn->in = block_get(&conn->core->blocks, size);
	if (in)
		block_append(conn->in, in->data + in->begin, used);
	block_put(&conn->core->blocks, in);
}

/* Keeps input for later. */
static void hold(struct conn *conn, const uint8_t *data, size_t n)
{
	if (!conn->in || block_tail(conn->in) < n)
		make_room(conn, n);
	block_append(conn->in, data, n);
}

static void take_held(struct conn *conn)
{
	struct block *in = conn->in;
	if (!in)
		return;
	if (!conn->closing && !blocked(conn))
		in->begin += (uint32_t)take(conn, in->data + in->begin, block_used(in));
	if (conn->closing || block_used(in) == 0) {
		block_put(&conn->core->blocks, in);
		conn->in = NULL;
	}
}

static void echo_feed(struct conn *conn, const uint8_t *data, size_t n)
{
	conn->core->requests++;
	if (!conn->out)
		conn->out = block_get(&conn->core->blocks, n < BLOCK_LARGE ? n : BLOCK_LARGE);
	size_t fits = block_tail(conn->out) < n ? block_tail(conn->out) : n; /* none while bytes wait in `in` */
	block_append(conn->out, data, fits);
	if (n > fits)
		hold(conn, data + fits, n - fits);
}

size_t conn_room(const struct conn *conn)
{
	if (conn->closing)
		return BLOCK_LARGE; /* what is not kept needs no room */
	size_t held = block_used(conn->in);
	size_t behind = held < BLOCK_LARGE ? BLOCK_LARGE - held : 0;
	if (conn->core->protocol == PROTOCOL_ECHO && !conn->in)
		return behind + (conn->out ? block_tail(conn->out) : BLOCK_LARGE);
	return behind;
}

void conn_feed(struct conn *conn, const void *bytes, size_t n)
{
	const uint8_t *data = bytes;
	assert(n > 0 && !conn->eof);
	if (conn->closing)
		return;
	if (conn->core->protocol == PROTOCOL_ECHO) {
		echo_feed(conn, data, n);
		return;
	}
	if (conn->in || blocked(conn)) {
		hold(conn, data, n);
		take_held(conn);
		return;
	}
	size_t taken = take(conn, data, n);
	if (taken < n && !conn->closing)
		hold(conn, data + taken, n - taken);
}

void conn_eof(struct conn *conn)
{
	conn->eof = true;
	if (conn->core->protocol == PROTOCOL_GREET && !conn->closing)
		greet_eof(conn);
}

struct span conn_output(const struct conn *conn)
{
	if (block_used(conn->out) > 0)
		return (struct span){conn->out->data + conn->out->begin, block_used(conn->out)};
	return body_span(conn->body_at, conn->body_end);
}

void conn_sent(struct conn *conn, size_t n)
{
	struct block *out = conn->out;
	if (block_used(out) > 0) {
		assert(n <= block_used(out));
		out->begin += (uint32_t)n;
		if (block_used(out) > 0)
			return;
		block_put(&conn->core->blocks, out);
		conn->out = NULL;
	} else {
		assert(n <= conn->body_end - conn->body_at);
		conn->body_at += n;
	}
	if (conn->core->protocol == PROTOCOL_ECHO) {
		conn->out = conn->in;
		conn->in = NULL;
	} else if (!owes(conn)) {
		take_held(conn);
	}
}

struct pause conn_pause(struct conn *conn)
{
	if (conn->pause.kind == PAUSE_FILE && !conn->pause.buf)
		http_lend(conn);
	return conn->pause;
}

void conn_did(struct conn *conn, unsigned what)
{
	assert(conn_wants(conn) & what);
	if (what == CONN_SHUT) {
		conn->shut = true;
		return;
	}
	conn->pause.kind = PAUSE_NONE;
	protocols[conn->core->protocol].resume(conn);
	take_held(conn);
}

void conn_read(struct conn *conn, ssize_t n)
{
	assert(conn->pause.kind == PAUSE_FILE);
	conn->reply.got = n;
	conn_did(conn, CONN_PAUSE);
}

unsigned conn_wants(const struct conn *conn)
{
	unsigned wants = 0;
	if (owes(conn))
		wants = CONN_SEND;
	else if (conn->pause.kind != PAUSE_NONE)
		wants = CONN_PAUSE;
	else if (conn->eof)
		return CONN_CLOSE; /* the peer's FIN was read, so close() sends a FIN and no reset */
	else if (conn->closing && !conn->shut)
		return CONN_SHUT;
	if (!conn->eof && conn_room(conn) > 0)
		wants |= CONN_RECV;
	return wants;
}

void conn_drop(struct conn *conn)
{
	block_put(&conn->core->blocks, conn->in);
	block_put(&conn->core->blocks, conn->out);
	conn->in = conn->out = NULL;
}

void core_free(struct core *core)
{
	blocks_free(&core->blocks);
}
