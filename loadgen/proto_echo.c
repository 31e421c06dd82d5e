/* echo: what was sent must come back, byte for byte. Payloads carry their connection and number, so that a
 * reply that is wrong can be named: damaged, out of order, given twice, or another connection's. */
#include <string.h>

#include "options.h"
#include "proto.h"

static bool echo_init(struct proto *p)
{
	p->kinds[0].request_len = p->reply_hint = p->kinds[0].options->size;
	return true;
}

static void echo_start(const struct proto *p, struct checker *c)
{
	(void)p;
	memset(&c->echo, 0, sizeof(c->echo));
}

static size_t size_of(const struct proto *p)
{
	return p->kinds[0].request_len;
}

static void echo_fill(const struct proto *p, const struct asked *asked, size_t off, uint8_t *out, size_t n)
{
	payload_fill(p->payload, asked->conn, asked->seq, size_of(p), off, out, n);
}

static enum verdict name_the_fault(const struct proto *p, struct checker_echo *e, const struct asked *asked)
{
	struct payload_head head;

	if (size_of(p) < PAYLOAD_HEAD || !payload_read_head(p->payload, e->head, &head))
		return VERDICT_MISMATCH;
	if (head.conn != asked->conn)
		return VERDICT_FOREIGN;
	if (head.seq == asked->seq)
		return VERDICT_MISMATCH;
	return order_moved(&e->order, asked->seq, asked->issued, head.seq) ? VERDICT_ORDER : VERDICT_DUPLICATE;
}

static size_t echo_check(struct proto *p, struct checker *c, const struct asked *asked, const uint8_t *data,
	size_t n, enum verdict *verdict)
{
	struct checker_echo *e = &c->echo;
	size_t left = size_of(p) - (size_t)e->off, take = n < left ? n : left;

	if (!payload_equal(p->payload, asked->conn, asked->seq, size_of(p), (size_t)e->off, data, take))
		e->bad = true;
	if (e->off < PAYLOAD_HEAD && (take < left || e->bad)) {
		size_t room = PAYLOAD_HEAD - (size_t)e->off;
		memcpy(e->head + e->off, data, take < room ? take : room);
	}
	if (take < left) {
		e->off += take;
		*verdict = VERDICT_MORE;
		return take;
	}
	if (e->bad)
		*verdict = name_the_fault(p, e, asked);
	else
		*verdict = order_repeated(&e->order, asked->seq) ? VERDICT_DUPLICATE : VERDICT_OK;
	e->off = 0;
	e->bad = false;
	return take;
}

static enum verdict echo_eof(struct proto *p, struct checker *c, const struct asked *asked)
{
	(void)p;
	(void)asked;
	return c->echo.off > 0 ? VERDICT_SHORT : VERDICT_MORE;
}

static enum verdict echo_extra(const struct proto *p, const struct asked *asked, const uint8_t *data, size_t n)
{
	struct payload_head head;

	if (size_of(p) < PAYLOAD_HEAD || n < PAYLOAD_HEAD || !payload_read_head(p->payload, data, &head))
		return VERDICT_LONG;
	return head.conn == asked->conn && head.seq < asked->issued ? VERDICT_DUPLICATE : VERDICT_LONG;
}

const struct proto_ops proto_echo = {
	.name = "echo",
	.init = echo_init,
	.start = echo_start,
	.fill = echo_fill,
	.check = echo_check,
	.eof = echo_eof,
	.extra = echo_extra,
};
