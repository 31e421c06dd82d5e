/* http: GET over keep-alive connections. The expected reply is known before the load: learned from one
 * rehearsal, or given by --expect. A reply that arrives in one piece and equals the last good one byte for byte
 * costs one memcmp; any other (cut in two, or a new Date header) is read properly, and then becomes the one to
 * compare with. Where a path has numbers, every reply is read properly: each number has a body of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "block.h"
#include "expected.h"
#include "http_reply.h"
#include "options.h"
#include "proto.h"

enum { MAX_KNOWN = 65536, MAX_NUMBER_TEXT = 16 };

/* The last good reply of one class, whole. */
struct known {
	uint8_t *bytes; /* room for MAX_KNOWN; NULL where replies differ */
	size_t length;
	bool closing;
};

/* Of one thread. */
struct http {
	uint8_t *requests; /* proto.constant, where that is set */
	struct known known[MAX_CLASSES];
};

static bool http_init(struct proto *p)
{
	struct http *h = calloc(1, sizeof(*h));

	p->state = h;
	if (!h)
		return false;
	for (uint32_t i = 0; i < p->kind_count; i++) {
		const struct expected *e = p->kinds[i].expected;
		p->kinds[i].request_len = e->request_len;
		p->reply_hint = e->body_len + 256 > p->reply_hint ? e->body_len + 256 : p->reply_hint;
		if (!p->kinds[i].options->numbers.any && !(h->known[i].bytes = malloc(MAX_KNOWN)))
			return false;
	}
	return p->kind_count > 1 || p->numbered || proto_repeat(p, &h->requests);
}

static void http_fini(struct proto *p)
{
	struct http *h = p->state;

	if (!h)
		return;
	for (uint32_t i = 0; i < p->kind_count; i++)
		free(h->known[i].bytes);
	free(h->requests);
	free(h);
}

/* Copies what of the piece [at, at + length) of a request lies in [off, off + n) of it. */
static void copy_piece(const void *piece, size_t at, size_t length, size_t off, uint8_t *out, size_t n)
{
	size_t from = at > off ? at : off, to = at + length < off + n ? at + length : off + n;

	if (from < to)
		memcpy(out + (from - off), (const uint8_t *)piece + (from - at), to - from);
}

static void http_fill(const struct proto *p, const struct asked *asked, size_t off, uint8_t *out, size_t n)
{
	const struct kind *k = &p->kinds[asked->choice.kind];
	const struct expected *e = k->expected;
	char number[MAX_NUMBER_TEXT];

	if (!k->options->numbers.any) {
		memcpy(out, e->request + off, n);
		return;
	}
	size_t digits = (size_t)snprintf(number, sizeof(number), "%u", asked->choice.number);
	copy_piece(e->request, 0, e->number_at, off, out, n);
	copy_piece(number, e->number_at, digits, off, out, n);
	copy_piece(
		e->request + e->number_at, e->number_at + digits, e->request_len - e->number_at, off, out, n);
}

static void http_start(const struct proto *p, struct checker *c)
{
	(void)p;
	c->http.inside = false;
}

static void begin_reading(struct checker_http *c)
{
	http_reply_start(&c->reply);
	c->inside = true;
	c->differs = false;
	c->body_off = 0;
}

static bool same_body(
	const struct expected *e, const struct asked *asked, uint64_t off, const uint8_t *body, size_t n)
{
	switch (e->content) {
	case CONTENT_BLOCKS:
		return block_equal(asked->choice.number, (size_t)off, body, n);
	case CONTENT_LENGTH:
		return true;
	case CONTENT_BYTES:
		return memcmp(e->body + off, body, n) == 0;
	}
	return false;
}

/* Compares a piece of the body with its place in the expected one. */
static void compare(const struct expected *e, struct checker_http *c, const struct asked *asked,
	const uint8_t *body, size_t n)
{
	size_t known = c->body_off < e->body_len ? e->body_len - (size_t)c->body_off : 0;

	if (known > n)
		known = n;
	if (known > 0 && !same_body(e, asked, c->body_off, body, known))
		c->differs = true;
	c->body_off += n;
}

static enum verdict judge_reply(const struct expected *e, const struct checker_http *c)
{
	if (c->reply.state == HTTP_BAD)
		return VERDICT_MALFORMED;
	if (c->reply.status != e->status)
		return VERDICT_STATUS;
	if (c->body_off < e->body_len)
		return VERDICT_SHORT;
	if (c->body_off > e->body_len)
		return VERDICT_LONG;
	return c->differs ? VERDICT_MISMATCH : VERDICT_OK;
}

static bool is_known(const struct known *k, const uint8_t *data, size_t n)
{
	return k->length > 0 && n >= k->length && memcmp(data, k->bytes, k->length) == 0;
}

static void remember(struct known *k, const uint8_t *data, size_t n, bool closing)
{
	if (!k->bytes || n > MAX_KNOWN)
		return;
	memcpy(k->bytes, data, n);
	k->length = n;
	k->closing = closing;
}

static size_t http_check(struct proto *p, struct checker *checker, const struct asked *asked,
	const uint8_t *data, size_t n, enum verdict *verdict)
{
	struct known *known = &((struct http *)p->state)->known[asked->choice.kind];
	const struct expected *e = p->kinds[asked->choice.kind].expected;
	struct checker_http *c = &checker->http;
	size_t used = 0, body_len;
	const uint8_t *body;

	if (!c->inside) {
		if (is_known(known, data, n)) {
			p->closing = known->closing;
			*verdict = VERDICT_OK;
			return known->length;
		}
		begin_reading(c);
	}
	bool whole = c->reply.state == HTTP_STATUS_LINE && c->reply.head_bytes == 0;
	while (used < n && c->reply.state < HTTP_DONE) {
		used += http_reply_feed(&c->reply, data + used, n - used, &body, &body_len);
		if (body_len > 0)
			compare(e, c, asked, body, body_len);
	}
	if (c->reply.state < HTTP_DONE) {
		*verdict = VERDICT_MORE;
		return used;
	}
	c->inside = false;
	p->closing = c->reply.closing;
	*verdict = judge_reply(e, c);
	if (whole && *verdict == VERDICT_OK)
		remember(known, data, used, c->reply.closing);
	return used;
}

static enum verdict http_eof(struct proto *p, struct checker *checker, const struct asked *asked)
{
	struct checker_http *c = &checker->http;

	if (!c->inside)
		return VERDICT_MORE;
	const struct expected *e = p->kinds[asked->choice.kind].expected;
	return http_reply_eof(&c->reply) ? judge_reply(e, c) : VERDICT_SHORT;
}

static enum verdict http_extra(const struct proto *p, const struct asked *asked, const uint8_t *data, size_t n)
{
	const struct http *h = p->state;

	return is_known(&h->known[asked->choice.kind], data, n) ? VERDICT_DUPLICATE : VERDICT_LONG;
}

const struct proto_ops proto_http = {
	.name = "http",
	.init = http_init,
	.fini = http_fini,
	.start = http_start,
	.fill = http_fill,
	.check = http_check,
	.eof = http_eof,
	.extra = http_extra,
};
