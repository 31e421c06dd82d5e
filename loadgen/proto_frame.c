/* frame: the workload is in the request. A request is a head of 16 bytes (how long a reply, how much work, what
 * delay, an id) and a payload that the server discards; the reply is that head with everything but the reply's
 * length and the id set to zero, and then so many bytes of an endless pattern, from the place that the id says.
 *
 * The id carries the connection (20 bits, as many as there can be connections) and the request's number modulo
 * 4096, so that a wrong reply can be named. A head that promises another length than was asked for leaves
 * nothing to find the next reply by: that connection is given up. */
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "options.h"
#include "proto.h"

enum {
	SEQ_BITS = 12,
	CONN_MASK = (1 << (32 - SEQ_BITS)) - 1,
	PATTERN_PERIOD = 64,
	PATTERN_SPAN = 1 << 16, /* what is received at once is never more */
};
_Static_assert((int)MAX_CONNECTIONS <= (int)CONN_MASK, "an id must tell all connections apart");

static const char pattern_bytes[PATTERN_PERIOD + 1] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* Of one thread: the pattern, long enough that a stretch of a span is contiguous anywhere. */
struct frame {
	uint8_t pattern[PATTERN_SPAN + PATTERN_PERIOD];
};

static bool frame_init(struct proto *p)
{
	struct frame *f = malloc(sizeof(*f));

	p->state = f;
	for (size_t i = 0; f && i < sizeof(f->pattern); i++)
		f->pattern[i] = (uint8_t)pattern_bytes[i % PATTERN_PERIOD];
	for (uint32_t i = 0; i < p->kind_count; i++) {
		size_t reply_len = FRAME_HEAD + (size_t)p->kinds[i].options->reply;
		p->kinds[i].request_len = FRAME_HEAD + (size_t)p->kinds[i].options->size;
		p->reply_hint = reply_len > p->reply_hint ? reply_len : p->reply_hint;
	}
	return f != NULL;
}

static void frame_fini(struct proto *p)
{
	free(p->state);
}

static void frame_start(const struct proto *p, struct checker *c)
{
	(void)p;
	memset(&c->frame, 0, sizeof(c->frame));
}

static uint32_t id_of(uint32_t conn, uint64_t seq)
{
	return conn << SEQ_BITS | (uint32_t)(seq & ((1u << SEQ_BITS) - 1));
}

static void put(uint8_t *at, uint64_t value, int bytes)
{
	for (int i = bytes - 1; i >= 0; i--, value >>= 8)
		at[i] = (uint8_t)value;
}

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void write_head(uint8_t *head, const struct asked *asked, const struct options *o)
{
	put(head, o->reply, 4);
	put(head + 4, o->size, 2);
	put(head + 6, o->work_ns / NS_PER_US, 2);
	head[8] = 0;
	put(head + 9, o->delay_ns / NS_PER_US, 3);
	put(head + 12, id_of(asked->conn, asked->seq), 4);
}

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

static void frame_fill(const struct proto *p, const struct asked *asked, size_t off, uint8_t *out, size_t n)
{
	const struct kind *k = &p->kinds[asked->choice.kind];
	uint8_t head[FRAME_HEAD];

	if (off < FRAME_HEAD) {
		size_t part = smaller(n, FRAME_HEAD - off);
		write_head(head, asked, k->options);
		memcpy(out, head + off, part);
		out += part, off += part, n -= part;
	}
	if (n > 0)
		payload_fill(p->payload, asked->conn, asked->seq, k->request_len, off, out, n);
}

/* Is this the pattern from byte `at` on? */
static bool is_pattern(const struct proto *p, uint64_t at, const uint8_t *data, size_t n)
{
	const struct frame *f = p->state;

	for (size_t part; n > 0; data += part, at += part, n -= part) {
		part = smaller(n, PATTERN_SPAN);
		if (memcmp(data, f->pattern + at % PATTERN_PERIOD, part) != 0)
			return false;
	}
	return true;
}

/* The request of this connection that the id is of: the one nearest to `asked`. */
static uint64_t seq_of(uint32_t id, const struct asked *asked)
{
	uint64_t span = 1u << SEQ_BITS, seq = (asked->seq & ~(span - 1)) | (id & (span - 1));

	if (seq > asked->seq + span / 2 && seq >= span)
		return seq - span;
	return seq + span / 2 < asked->seq ? seq + span : seq;
}

/* The head is complete. VERDICT_MORE: the reply's length is known and its payload follows. */
static enum verdict read_head(const struct proto *p, struct checker_frame *c, const struct asked *asked)
{
	const struct options *o = p->kinds[asked->choice.kind].options;
	static const uint8_t zeros[8];
	uint32_t reply = get32(c->head), id = get32(c->head + 12);

	c->length = FRAME_HEAD + (uint64_t)reply;
	c->bad = memcmp(c->head + 4, zeros, sizeof(zeros)) != 0;
	if (reply > MAX_FRAME_REPLY)
		return VERDICT_MALFORMED;
	if (id == id_of(asked->conn, asked->seq) && reply != o->reply)
		return reply < o->reply ? VERDICT_SHORT : VERDICT_LONG;
	return VERDICT_MORE;
}

static enum verdict name_the_fault(struct checker_frame *c, const struct asked *asked)
{
	uint32_t id = get32(c->head + 12);

	if (id == id_of(asked->conn, asked->seq)) {
		if (order_repeated(&c->order, asked->seq))
			return VERDICT_DUPLICATE;
		return c->bad ? VERDICT_MISMATCH : VERDICT_OK;
	}
	if (id >> SEQ_BITS != (asked->conn & CONN_MASK))
		return VERDICT_FOREIGN;
	return order_moved(&c->order, asked->seq, asked->issued, seq_of(id, asked)) ? VERDICT_ORDER
										    : VERDICT_DUPLICATE;
}

/* The part of the head that lies in these bytes. */
static size_t take_head(struct checker_frame *c, const uint8_t *data, size_t n)
{
	size_t part = smaller(n, FRAME_HEAD - (size_t)c->off);

	memcpy(c->head + c->off, data, part);
	c->off += part;
	return part;
}

static size_t frame_check(struct proto *p, struct checker *checker, const struct asked *asked,
	const uint8_t *data, size_t n, enum verdict *verdict)
{
	struct checker_frame *c = &checker->frame;
	size_t used = 0;

	*verdict = VERDICT_MORE;
	if (c->off < FRAME_HEAD) {
		used = take_head(c, data, n);
		if (c->off < FRAME_HEAD)
			return used;
		*verdict = read_head(p, c, asked);
		if (*verdict != VERDICT_MORE)
			return used;
	}
	size_t part = smaller(n - used, (size_t)(c->length - c->off));
	if (part > 0 && !is_pattern(p, (uint64_t)get32(c->head + 12) + c->off - FRAME_HEAD, data + used, part))
		c->bad = true;
	c->off += part;
	if (c->off == c->length) {
		*verdict = name_the_fault(c, asked);
		c->off = 0;
	}
	return used + part;
}

static enum verdict frame_eof(struct proto *p, struct checker *c, const struct asked *asked)
{
	(void)p;
	(void)asked;
	return c->frame.off > 0 ? VERDICT_SHORT : VERDICT_MORE;
}

static enum verdict frame_extra(const struct proto *p, const struct asked *asked, const uint8_t *data, size_t n)
{
	(void)p;
	if (n < FRAME_HEAD || get32(data + 12) >> SEQ_BITS != (asked->conn & CONN_MASK))
		return VERDICT_LONG;
	return seq_of(get32(data + 12), asked) < asked->issued ? VERDICT_DUPLICATE : VERDICT_LONG;
}

const struct proto_ops proto_frame = {
	.name = "frame",
	.init = frame_init,
	.fini = frame_fini,
	.start = frame_start,
	.fill = frame_fill,
	.check = frame_check,
	.eof = frame_eof,
	.extra = frame_extra,
};
