/* http: GET over keep-alive connections. The expected reply is known before the load: learned from one
 * rehearsal, or given by --expect. A reply that arrives in one piece and equals the last good one byte for byte
 * costs one memcmp; any other (cut in two, or a new Date header) is read properly, and then becomes the one to
 * compare with. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "expected.h"
#include "http_reply.h"
#include "options.h"
#include "proto.h"

enum { REQUESTS_BYTES = 65536, MAX_KNOWN = 65536 };

/* Of one thread. */
struct http {
	const struct expected *expected;
	uint8_t *requests;
	uint8_t *known; /* the last good reply, whole; MAX_KNOWN bytes */
	size_t known_len;
	bool known_closing;
};

static const char *http_init(struct proto *p, const struct options *options, const struct expected *expected)
{
	struct http *h = calloc(1, sizeof(*h));

	if (!h)
		return "out of memory";
	p->state = h;
	h->expected = expected;
	h->requests = malloc(REQUESTS_BYTES);
	h->known = malloc(MAX_KNOWN);
	if (!h->requests || !h->known)
		return "out of memory";
	p->request_len = expected->request_len;
	p->constant_count = REQUESTS_BYTES / p->request_len;
	if (p->constant_count > options->depth)
		p->constant_count = (size_t)options->depth;
	for (size_t i = 0; i < p->constant_count; i++)
		memcpy(h->requests + i * p->request_len, expected->request, p->request_len);
	p->constant = h->requests;
	p->reply_hint = expected->body_len + 256;
	return NULL;
}

static void http_fini(struct proto *p)
{
	struct http *h = p->state;

	if (!h)
		return;
	free(h->requests);
	free(h->known);
	free(h);
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

/* Compares a piece of the body with its place in the expected one. */
static void compare(const struct expected *e, struct checker_http *c, const uint8_t *body, size_t n)
{
	size_t known = c->body_off < e->body_len ? e->body_len - (size_t)c->body_off : 0;

	if (known > n)
		known = n;
	if (known > 0 && memcmp(e->body + c->body_off, body, known) != 0)
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

static void remember(struct http *h, const uint8_t *data, size_t n, bool closing)
{
	if (n > MAX_KNOWN)
		return;
	memcpy(h->known, data, n);
	h->known_len = n;
	h->known_closing = closing;
}

static size_t http_check(struct proto *p, struct checker *checker, const struct asked *asked,
	const uint8_t *data, size_t n, enum verdict *verdict)
{
	struct http *h = p->state;
	struct checker_http *c = &checker->http;
	size_t used = 0, body_len;
	const uint8_t *body;

	(void)asked;
	if (!c->inside) {
		if (h->known_len > 0 && n >= h->known_len && memcmp(data, h->known, h->known_len) == 0) {
			p->closing = h->known_closing;
			*verdict = VERDICT_OK;
			return h->known_len;
		}
		begin_reading(c);
	}
	bool whole = c->reply.state == HTTP_STATUS_LINE && c->reply.head_bytes == 0;
	while (used < n && c->reply.state < HTTP_DONE) {
		used += http_reply_feed(&c->reply, data + used, n - used, &body, &body_len);
		if (body_len > 0)
			compare(h->expected, c, body, body_len);
	}
	if (c->reply.state < HTTP_DONE) {
		*verdict = VERDICT_MORE;
		return used;
	}
	c->inside = false;
	p->closing = c->reply.closing;
	*verdict = judge_reply(h->expected, c);
	if (whole && *verdict == VERDICT_OK)
		remember(h, data, used, c->reply.closing);
	return used;
}

static enum verdict http_eof(struct proto *p, struct checker *checker, const struct asked *asked)
{
	const struct http *h = p->state;
	struct checker_http *c = &checker->http;

	(void)asked;
	if (!c->inside)
		return VERDICT_MORE;
	return http_reply_eof(&c->reply) ? judge_reply(h->expected, c) : VERDICT_SHORT;
}

static enum verdict http_extra(const struct proto *p, const struct asked *asked, const uint8_t *data, size_t n)
{
	const struct http *h = p->state;

	(void)asked;
	bool again = h->known_len > 0 && n >= h->known_len && memcmp(data, h->known, h->known_len) == 0;
	return again ? VERDICT_DUPLICATE : VERDICT_LONG;
}

const struct proto_ops proto_http = {
	.name = "http",
	.init = http_init,
	.fini = http_fini,
	.start = http_start,
	.check = http_check,
	.eof = http_eof,
	.extra = http_extra,
};
