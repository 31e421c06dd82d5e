/* raw: sends given bytes and expects given bytes, a length, or a terminator, so that servers of any protocol
 * can be driven. */
#include <stdlib.h>
#include <string.h>

#include "expected.h"
#include "options.h"
#include "proto.h"

static bool raw_init(struct proto *p)
{
	uint8_t *requests = NULL;

	for (uint32_t i = 0; i < p->kind_count; i++) {
		const struct expected *e = p->kinds[i].expected;
		p->kinds[i].request_len = e->request_len;
		p->reply_hint = e->body_len > p->reply_hint ? e->body_len : p->reply_hint;
	}
	bool fine = p->kind_count > 1 || proto_repeat(p, &requests);
	p->state = requests;
	return fine;
}

static void raw_fini(struct proto *p)
{
	free(p->state);
}

static void raw_fill(const struct proto *p, const struct asked *asked, size_t off, uint8_t *out, size_t n)
{
	memcpy(out, p->kinds[asked->choice.kind].expected->request + off, n);
}

static void raw_start(const struct proto *p, struct checker *c)
{
	(void)p;
	memset(&c->raw, 0, sizeof(c->raw));
}

static enum verdict done(struct checker_raw *c)
{
	enum verdict verdict = c->bad ? VERDICT_MISMATCH : VERDICT_OK;

	memset(c, 0, sizeof(*c));
	return verdict;
}

/* The reply has a known length, and known bytes unless `body` is NULL. */
static size_t check_length(
	const struct expected *e, struct checker_raw *c, const uint8_t *data, size_t n, enum verdict *verdict)
{
	size_t left = e->body_len - (size_t)c->off, take = n < left ? n : left;

	if (e->body && memcmp(e->body + c->off, data, take) != 0)
		c->bad = true;
	c->off += take;
	*verdict = take == left ? done(c) : VERDICT_MORE;
	return take;
}

/* The reply ends with a terminator: the matcher of Knuth, Morris and Pratt, so that it may be cut at any byte.
 */
static size_t check_terminator(
	const struct expected *e, struct checker_raw *c, const uint8_t *data, size_t n, enum verdict *verdict)
{
	for (size_t i = 0; i < n; i++) {
		while (c->matched > 0 && e->body[c->matched] != data[i])
			c->matched = e->fallback[c->matched - 1];
		if (e->body[c->matched] == data[i])
			c->matched++;
		c->off++;
		if (c->matched == e->body_len) {
			*verdict = done(c);
			return i + 1;
		}
	}
	*verdict = VERDICT_MORE;
	return n;
}

static size_t raw_check(struct proto *p, struct checker *checker, const struct asked *asked,
	const uint8_t *data, size_t n, enum verdict *verdict)
{
	const struct expected *e = p->kinds[asked->choice.kind].expected;

	if (e->fallback)
		return check_terminator(e, &checker->raw, data, n, verdict);
	return check_length(e, &checker->raw, data, n, verdict);
}

static enum verdict raw_eof(struct proto *p, struct checker *checker, const struct asked *asked)
{
	(void)p;
	(void)asked;
	return checker->raw.off > 0 ? VERDICT_SHORT : VERDICT_MORE;
}

static enum verdict raw_extra(const struct proto *p, const struct asked *asked, const uint8_t *data, size_t n)
{
	const struct expected *e = p->kinds[asked->choice.kind].expected;

	bool again = !e->fallback && e->body && n >= e->body_len && memcmp(data, e->body, e->body_len) == 0;
	return again ? VERDICT_DUPLICATE : VERDICT_LONG;
}

const struct proto_ops proto_raw = {
	.name = "raw",
	.init = raw_init,
	.fini = raw_fini,
	.start = raw_start,
	.fill = raw_fill,
	.check = raw_check,
	.eof = raw_eof,
	.extra = raw_extra,
};
