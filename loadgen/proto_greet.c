/* greet: a name and a newline go out, `Hello NAME` and a newline come back, then the server closes. Names carry
 * connection and number, in letters, so that another connection's greeting is known as such. */
#include <stdio.h>
#include <string.h>

#include "options.h"
#include "proto.h"

enum { HELLO = 6, NAME_MAX_BYTES = 1024 }; /* longer ones are refused with the options */

static const char hello[HELLO + 1] = "Hello ";

static bool greet_init(struct proto *p)
{
	p->kinds[0].request_len = p->kinds[0].options->size;
	return true;
}

static size_t size_of(const struct proto *p)
{
	return p->kinds[0].request_len;
}

static void greet_start(const struct proto *p, struct checker *c)
{
	(void)p;
	memset(&c->greet, 0, sizeof(c->greet));
}

/* The name of request (conn, seq), `size` bytes: its head in hexadecimal, as much as fits, and then dashes. */
static void write_name(const struct proto *p, uint32_t conn, uint64_t seq, char *name, size_t size)
{
	struct payload_head head = payload_head(p->payload, conn, seq);
	char text[GREET_HEAD + 1];

	snprintf(text, sizeof(text), "%08x%08x%016llx", head.check, head.conn, (unsigned long long)head.seq);
	memset(name, '-', size);
	memcpy(name, text, size < GREET_HEAD ? size : GREET_HEAD);
}

static void greet_fill(const struct proto *p, const struct asked *asked, size_t off, uint8_t *out, size_t n)
{
	char request[NAME_MAX_BYTES + 1];

	write_name(p, asked->conn, asked->seq, request, size_of(p) - 1);
	request[size_of(p) - 1] = '\n';
	memcpy(out, request + off, n);
}

static size_t greet_check(struct proto *p, struct checker *checker, const struct asked *asked,
	const uint8_t *data, size_t n, enum verdict *verdict)
{
	struct checker_greet *c = &checker->greet;
	char reply[HELLO + NAME_MAX_BYTES + 1];
	size_t length = HELLO + size_of(p);

	memcpy(reply, hello, HELLO);
	write_name(p, asked->conn, asked->seq, reply + HELLO, size_of(p) - 1);
	reply[length - 1] = '\n';
	size_t known = c->off < length ? length - (size_t)c->off : 0;
	if (known > n)
		known = n;
	if (known > 0 && memcmp(reply + c->off, data, known) != 0)
		c->bad = true;
	for (size_t i = 0; i < n && c->off + i < sizeof(c->head); i++)
		c->head[c->off + i] = data[i];
	c->off += n;
	*verdict = VERDICT_MORE; /* only the end of the stream completes a greeting */
	return n;
}

/* Is this a greeting that some other connection of this run must have asked for? */
static bool is_foreign(const struct proto *p, const struct checker_greet *c, const struct asked *asked)
{
	char text[GREET_HEAD + 1] = {0};
	struct payload_head head;
	unsigned long long seq;

	if (size_of(p) <= GREET_HEAD || memcmp(c->head, hello, HELLO) != 0)
		return false;
	memcpy(text, c->head + HELLO, GREET_HEAD);
	if (sscanf(text, "%8x%8x%16llx", &head.check, &head.conn, &seq) != 3)
		return false;
	return head.check == payload_head(p->payload, head.conn, seq).check && head.conn != asked->conn;
}

static enum verdict greet_eof(struct proto *p, struct checker *checker, const struct asked *asked)
{
	const struct checker_greet *c = &checker->greet;
	size_t length = HELLO + size_of(p);

	if (c->off == 0)
		return VERDICT_MORE;
	if (c->off != length)
		return c->off < length ? VERDICT_SHORT : VERDICT_LONG;
	if (!c->bad)
		return VERDICT_OK;
	return is_foreign(p, c, asked) ? VERDICT_FOREIGN : VERDICT_MISMATCH;
}

static enum verdict greet_extra(const struct proto *p, const struct asked *asked, const uint8_t *data, size_t n)
{
	(void)p;
	(void)asked;
	(void)data;
	(void)n;
	return VERDICT_LONG;
}

const struct proto_ops proto_greet = {
	.name = "greet",
	.until_eof = true,
	.init = greet_init,
	.start = greet_start,
	.fill = greet_fill,
	.check = greet_check,
	.eof = greet_eof,
	.extra = greet_extra,
};
