/* greet: a name and a newline go out, `Hello NAME` and a newline come back, then the server closes. Names carry
 * connection and number, in letters, so that another connection's greeting is known as such. */
#include <stdio.h>
#include <string.h>

#include "options.h"
#include "proto.h"

enum { HELLO = 6, MAX_NAME = 1024 };

static const char hello[HELLO + 1] = "Hello ";

static const char *greet_init(struct proto *p, const struct options *options, const struct expected *expected)
{
	(void)expected;
	if (options->size > MAX_NAME + 1)
		return "a name has at most 1024 bytes: --size 1025 is the most that greet can send";
	p->request_len = options->size;
	return NULL;
}

static void greet_fini(struct proto *p)
{
	(void)p;
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

static void greet_fill(const struct proto *p, uint32_t conn, uint64_t seq, size_t off, uint8_t *out, size_t n)
{
	char request[MAX_NAME + 1];

	write_name(p, conn, seq, request, p->request_len - 1);
	request[p->request_len - 1] = '\n';
	memcpy(out, request + off, n);
}

static size_t greet_check(struct proto *p, struct checker *checker, const struct asked *asked,
	const uint8_t *data, size_t n, enum verdict *verdict)
{
	struct checker_greet *c = &checker->greet;
	char reply[HELLO + MAX_NAME + 1];
	size_t length = HELLO + p->request_len;

	memcpy(reply, hello, HELLO);
	write_name(p, asked->conn, asked->seq, reply + HELLO, p->request_len - 1);
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

	if (p->request_len <= GREET_HEAD || memcmp(c->head, hello, HELLO) != 0)
		return false;
	memcpy(text, c->head + HELLO, GREET_HEAD);
	if (sscanf(text, "%8x%8x%16llx", &head.check, &head.conn, &seq) != 3)
		return false;
	return head.check == payload_head(p->payload, head.conn, seq).check && head.conn != asked->conn;
}

static enum verdict greet_eof(struct proto *p, struct checker *checker, const struct asked *asked)
{
	const struct checker_greet *c = &checker->greet;
	size_t length = HELLO + p->request_len;

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
	.fini = greet_fini,
	.start = greet_start,
	.fill = greet_fill,
	.check = greet_check,
	.eof = greet_eof,
	.extra = greet_extra,
};
