/* echo: what was sent must come back, byte for byte. Payloads carry their connection and number, so that a
 * reply that is wrong can be named: damaged, out of order, given twice, or another connection's. */
#include <string.h>

#include "options.h"
#include "proto.h"

static const char *echo_init(struct proto *p, const struct options *options, const struct expected *expected)
{
	(void)expected;
	p->request_len = p->reply_hint = options->size;
	return NULL;
}

static void echo_fini(struct proto *p)
{
	(void)p;
}

static void echo_start(const struct proto *p, struct checker *c)
{
	(void)p;
	memset(&c->echo, 0, sizeof(c->echo));
}

static void echo_fill(const struct proto *p, uint32_t conn, uint64_t seq, size_t off, uint8_t *out, size_t n)
{
	payload_fill(p->payload, conn, seq, p->request_len, off, out, n);
}

static uint64_t bit_of(uint64_t seq)
{
	return 1ULL << (seq & 63);
}

/* The reply to `asked` is wrong and its head is that of request `seq` of the same connection: out of order, or
 * given twice? Two sets tell, exact as long as no more than 64 requests are in flight: a number passed over may
 * still come, a number that came too soon must not come again. */
static enum verdict place(struct checker_echo *e, const struct asked *asked, uint64_t seq)
{
	bool given = seq < asked->seq ? !(e->missing & bit_of(seq)) : (e->early & bit_of(seq)) != 0;

	if (seq >= asked->issued || given)
		return VERDICT_DUPLICATE;
	if (seq < asked->seq)
		e->missing &= ~bit_of(seq);
	else
		e->early |= bit_of(seq);
	if (e->early & bit_of(asked->seq))
		e->early &= ~bit_of(asked->seq);
	else
		e->missing |= bit_of(asked->seq);
	return VERDICT_ORDER;
}

static enum verdict name_the_fault(const struct proto *p, struct checker_echo *e, const struct asked *asked)
{
	struct payload_head head;

	if (p->request_len < PAYLOAD_HEAD || !payload_read_head(p->payload, e->head, &head))
		return VERDICT_MISMATCH;
	if (head.conn != asked->conn)
		return VERDICT_FOREIGN;
	return head.seq == asked->seq ? VERDICT_MISMATCH : place(e, asked, head.seq);
}

static size_t echo_check(struct proto *p, struct checker *c, const struct asked *asked, const uint8_t *data,
	size_t n, enum verdict *verdict)
{
	struct checker_echo *e = &c->echo;
	size_t left = p->request_len - (size_t)e->off, take = n < left ? n : left;

	if (!payload_equal(p->payload, asked->conn, asked->seq, p->request_len, (size_t)e->off, data, take))
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
		*verdict = e->early & bit_of(asked->seq) ? VERDICT_DUPLICATE : VERDICT_OK;
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

	if (p->request_len < PAYLOAD_HEAD || n < PAYLOAD_HEAD || !payload_read_head(p->payload, data, &head))
		return VERDICT_LONG;
	return head.conn == asked->conn && head.seq < asked->issued ? VERDICT_DUPLICATE : VERDICT_LONG;
}

const struct proto_ops proto_echo = {
	.name = "echo",
	.init = echo_init,
	.fini = echo_fini,
	.start = echo_start,
	.fill = echo_fill,
	.check = echo_check,
	.eof = echo_eof,
	.extra = echo_extra,
};
