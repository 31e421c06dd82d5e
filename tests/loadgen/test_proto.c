/* The checkers, fed every way a stream can be cut. A case is a stream of replies and what must become of each;
 * the verdicts must be the same whole, cut in two at every byte, and byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "expected.h"
#include "options.h"
#include "proto.h"

enum { MAX_STREAM = 1 << 17, MAX_VERDICTS = 64, CONN = 7, FIRST_SEQ = 1000 };

static struct payload payload;

struct stream {
	uint8_t bytes[MAX_STREAM];
	size_t length;
};

struct verdicts {
	enum verdict list[MAX_VERDICTS];
	size_t count;
};

/* The load's options have to stay, as they do in a run. */
static void set_up(
	struct proto *p, enum protocol_name protocol, const struct options *o, const struct expected *e)
{
	static struct options load;

	load = *o;
	load.protocol = protocol;
	assert_true(proto_init(p, &load, &payload, e));
}

/* Feeds one piece, as the flow does: until it is used up, with `requests` in flight at the beginning. Each
 * piece lies in memory of exactly its size, so that the sanitizer sees a read beyond it. */
static void feed(struct proto *p, struct checker *c, const uint8_t *data, size_t n, uint64_t requests,
	struct verdicts *out)
{
	uint8_t *piece = malloc(n), *at = piece;

	memcpy(piece, data, n);
	while (n > 0 && out->count < requests && out->count < MAX_VERDICTS) {
		struct asked asked = {CONN, FIRST_SEQ + out->count, FIRST_SEQ + requests, {0}};
		enum verdict verdict;
		size_t used = p->ops->check(p, c, &asked, at, n, &verdict);
		assert_in_range(used, 1, n);
		at += used;
		n -= used;
		if (verdict == VERDICT_MORE)
			assert_int_equal(n, 0);
		else
			out->list[out->count++] = verdict;
	}
	free(piece);
}

static void expect_verdicts(const struct verdicts *got, const enum verdict *want, size_t count)
{
	assert_int_equal(got->count, count);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(got->list[i], want[i]);
}

/* `want` are the verdicts of the whole stream, `count` of them and as many requests in flight. */
static void check_all_cuts(struct proto *p, const struct stream *s, const enum verdict *want, size_t count)
{
	for (size_t cut = 0; cut <= s->length; cut++) {
		struct checker c;
		struct verdicts got = {.count = 0};
		p->ops->start(p, &c);
		if (cut > 0)
			feed(p, &c, s->bytes, cut, count, &got);
		if (cut < s->length)
			feed(p, &c, s->bytes + cut, s->length - cut, count, &got);
		expect_verdicts(&got, want, count);
	}
	struct checker c;
	struct verdicts got = {.count = 0};
	p->ops->start(p, &c);
	for (size_t i = 0; i < s->length; i++)
		feed(p, &c, s->bytes + i, 1, count, &got);
	expect_verdicts(&got, want, count);
}

static void append(struct stream *s, const void *bytes, size_t n)
{
	assert_true(s->length + n <= MAX_STREAM);
	memcpy(s->bytes + s->length, bytes, n);
	s->length += n;
}

static void append_text(struct stream *s, const char *text)
{
	append(s, text, strlen(text));
}

/* --- echo
 * ------------------------------------------------------------------------------------------------------- */

static void append_echo(struct stream *s, const struct proto *p, uint32_t conn, uint64_t seq)
{
	struct asked asked = {conn, seq, seq + 1, {0}};
	size_t length = proto_request_len(p, asked.choice);

	p->ops->fill(p, &asked, 0, s->bytes + s->length, length);
	s->length += length;
}

static void echo_of(struct proto *p, size_t size)
{
	struct options o = {.size = size, .depth = 8};

	set_up(p, PROTOCOL_ECHO, &o, NULL);
}

static void echo_accepts_what_was_sent(void **state)
{
	static const size_t sizes[] = {1, 5, 15, 16, 17, 64, 300};
	static const enum verdict want[] = {VERDICT_OK, VERDICT_OK, VERDICT_OK};
	static struct stream s;
	struct proto p;

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		echo_of(&p, sizes[i]);
		s.length = 0;
		for (uint64_t seq = 0; seq < 3; seq++)
			append_echo(&s, &p, CONN, FIRST_SEQ + seq);
		check_all_cuts(&p, &s, want, 3);
	}
}

/* A large message, filled in parts as a blocked send does, is the same message. */
static void echo_fills_in_parts(void **state)
{
	enum { SIZE = 50000, PART = 777 };
	static uint8_t whole[SIZE], parts[SIZE];
	struct proto p;

	(void)state;
	echo_of(&p, SIZE);
	struct asked asked = {CONN, 5, 6, {0}};
	p.ops->fill(&p, &asked, 0, whole, SIZE);
	for (size_t off = 0; off < SIZE; off += PART)
		p.ops->fill(&p, &asked, off, parts + off, off + PART < SIZE ? PART : SIZE - off);
	assert_memory_equal(whole, parts, SIZE);
}

static void echo_sees_every_wrong_byte(void **state)
{
	static const enum verdict want[] = {VERDICT_OK, VERDICT_MISMATCH, VERDICT_OK};
	static struct stream s;
	struct proto p;

	(void)state;
	echo_of(&p, 40);
	for (size_t wrong = 0; wrong < 40; wrong++) {
		s.length = 0;
		for (uint64_t seq = 0; seq < 3; seq++)
			append_echo(&s, &p, CONN, FIRST_SEQ + seq);
		s.bytes[40 + wrong] ^= 1;
		check_all_cuts(&p, &s, want, 3);
	}
}

/* Which request's reply came at each of five turns, and what must be said of it. */
static void echo_names_what_is_out_of_place(void **state)
{
	static const struct {
		int replies[5];
		enum verdict want[5];
	} cases[] = {
		{{0, 1, 2, 3, 4}, {VERDICT_OK, VERDICT_OK, VERDICT_OK, VERDICT_OK, VERDICT_OK}},
		{{1, 0, 2, 3, 4}, {VERDICT_ORDER, VERDICT_ORDER, VERDICT_OK, VERDICT_OK, VERDICT_OK}},
		{{0, 1, 1, 3, 4}, {VERDICT_OK, VERDICT_OK, VERDICT_DUPLICATE, VERDICT_OK, VERDICT_OK}},
		{{1, 1, 2, 3, 4}, {VERDICT_ORDER, VERDICT_DUPLICATE, VERDICT_OK, VERDICT_OK, VERDICT_OK}},
		{{2, 0, 1, 3, 4}, {VERDICT_ORDER, VERDICT_ORDER, VERDICT_ORDER, VERDICT_OK, VERDICT_OK}},
		{{4, 3, 2, 1, 0}, {VERDICT_ORDER, VERDICT_ORDER, VERDICT_OK, VERDICT_ORDER, VERDICT_ORDER}},
		{{0, 2, 2, 3, 4}, {VERDICT_OK, VERDICT_ORDER, VERDICT_DUPLICATE, VERDICT_OK, VERDICT_OK}},
		{{-1, 1, 2, 3, 4}, {VERDICT_DUPLICATE, VERDICT_OK, VERDICT_OK, VERDICT_OK, VERDICT_OK}},
	};
	static struct stream s;
	struct proto p;

	(void)state;
	echo_of(&p, 20);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		s.length = 0;
		for (int turn = 0; turn < 5; turn++)
			append_echo(&s, &p, CONN, (uint64_t)(FIRST_SEQ + cases[i].replies[turn]));
		check_all_cuts(&p, &s, cases[i].want, 5);
	}
}

static void echo_knows_other_connections_replies(void **state)
{
	static const enum verdict want[] = {VERDICT_OK, VERDICT_FOREIGN, VERDICT_OK};
	static struct stream s;
	struct proto p;

	(void)state;
	echo_of(&p, 64);
	s.length = 0;
	append_echo(&s, &p, CONN, FIRST_SEQ);
	append_echo(&s, &p, CONN + 1, FIRST_SEQ + 1);
	append_echo(&s, &p, CONN, FIRST_SEQ + 2);
	check_all_cuts(&p, &s, want, 3);
}

static void echo_tells_extra_bytes_apart(void **state)
{
	static struct stream s;
	struct asked asked = {CONN, FIRST_SEQ, FIRST_SEQ + 1, {0}};
	struct proto p;

	(void)state;
	echo_of(&p, 64);
	s.length = 0;
	append_echo(&s, &p, CONN, FIRST_SEQ);
	assert_int_equal(p.ops->extra(&p, &asked, s.bytes, s.length), VERDICT_DUPLICATE);
	assert_int_equal(p.ops->extra(&p, &asked, s.bytes, 5), VERDICT_LONG);
	s.bytes[0] ^= 1;
	assert_int_equal(p.ops->extra(&p, &asked, s.bytes, s.length), VERDICT_LONG);
}

static void echo_knows_where_the_stream_ended(void **state)
{
	static struct stream s;
	struct asked asked = {CONN, FIRST_SEQ, FIRST_SEQ + 1, {0}};
	struct checker c;
	enum verdict verdict;
	struct proto p;

	(void)state;
	echo_of(&p, 64);
	p.ops->start(&p, &c);
	assert_int_equal(p.ops->eof(&p, &c, &asked), VERDICT_MORE);
	s.length = 0;
	append_echo(&s, &p, CONN, FIRST_SEQ);
	p.ops->check(&p, &c, &asked, s.bytes, 63, &verdict);
	assert_int_equal(p.ops->eof(&p, &c, &asked), VERDICT_SHORT);
}

/* --- frame
 * ------------------------------------------------------------------------------------------------------ */

enum { FRAME_REPLY = 100 };

/* The reply that a server must give to request `seq` of connection `conn`, made without the generator's code.
 */
static void append_frame(struct stream *s, uint32_t conn, uint64_t seq, uint32_t reply)
{
	static const char pattern[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	uint32_t id = (conn << 12) + (uint32_t)(seq % 4096);
	uint8_t *at = s->bytes + s->length;

	assert_true(s->length + 16 + reply <= MAX_STREAM);
	memset(at, 0, 16);
	for (int i = 0; i < 4; i++) {
		at[i] = (uint8_t)(reply >> (24 - 8 * i));
		at[12 + i] = (uint8_t)(id >> (24 - 8 * i));
	}
	for (uint32_t k = 0; k < reply; k++)
		at[16 + k] = (uint8_t)pattern[(id + k) % 64];
	s->length += 16 + reply;
}

static void frame_of(struct proto *p, uint64_t reply)
{
	struct options o = {
		.size = 40, .reply = reply, .delay_ns = 70000 * 1000, .work_ns = 300 * 1000, .depth = 8};

	set_up(p, PROTOCOL_FRAME, &o, NULL);
}

static void frame_requests_are_as_documented(void **state)
{
	struct asked asked = {CONN, 4097, 4098, {0}};
	uint8_t whole[56], parts[56];
	struct proto p;

	(void)state;
	frame_of(&p, 0x010203);
	assert_int_equal(proto_request_len(&p, asked.choice), sizeof(whole));
	p.ops->fill(&p, &asked, 0, whole, sizeof(whole));
	static const uint8_t head[16] = {0, 1, 2, 3, 0, 40, 1, 44, 0, 1, 17, 112, 0, 0, 7 << 4, 1};
	assert_memory_equal(whole, head, sizeof(head));
	for (size_t off = 0; off < sizeof(whole); off += 5)
		p.ops->fill(&p, &asked, off, parts + off, off + 5 < sizeof(whole) ? 5 : sizeof(whole) - off);
	assert_memory_equal(whole, parts, sizeof(whole));
	proto_fini(&p);
}

static void frame_accepts_the_right_replies(void **state)
{
	static const uint32_t sizes[] = {0, 1, 63, 64, 65, 200};
	static const enum verdict want[] = {VERDICT_OK, VERDICT_OK, VERDICT_OK};
	static struct stream s;
	struct proto p;

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		frame_of(&p, sizes[i]);
		s.length = 0;
		for (uint64_t seq = 0; seq < 3; seq++)
			append_frame(&s, CONN, FIRST_SEQ + seq, sizes[i]);
		check_all_cuts(&p, &s, want, 3);
		proto_fini(&p);
	}
}

/* What must be said when this byte of the second of three replies is changed. */
static enum verdict verdict_on_byte(size_t at)
{
	if (at == 0)
		return VERDICT_MALFORMED; /* longer than any reply can be */
	if (at < 4)
		return at < 3 ? VERDICT_LONG : VERDICT_SHORT;
	if (at >= 12 && at < 15)
		return VERDICT_FOREIGN; /* of byte 14 the upper half, which is the connection's, is changed */
	return at == 15 ? VERDICT_DUPLICATE : VERDICT_MISMATCH;
}

static void frame_sees_every_wrong_byte(void **state)
{
	static struct stream s;
	struct proto p;

	(void)state;
	frame_of(&p, FRAME_REPLY);
	for (size_t wrong = 0; wrong < 16 + FRAME_REPLY; wrong++) {
		enum verdict want[] = {VERDICT_OK, verdict_on_byte(wrong), VERDICT_OK};
		s.length = 0;
		for (uint64_t seq = 0; seq < 3; seq++)
			append_frame(&s, CONN, FIRST_SEQ + seq, FRAME_REPLY);
		s.bytes[16 + FRAME_REPLY + wrong] ^= wrong == 3 || wrong == 15 ? 0x44 : wrong == 14 ? 0x10 : 1;
		size_t fine = want[1] >= VERDICT_FATAL ? 2 : 3;
		s.length = fine == 3 ? s.length : 2 * (16 + FRAME_REPLY);
		struct checker c;
		struct verdicts got = {.count = 0};
		p.ops->start(&p, &c);
		feed(&p, &c, s.bytes, s.length, 3, &got);
		assert_true(got.count >= fine);
		assert_int_equal(got.list[0], want[0]);
		assert_int_equal(got.list[1], want[1]);
		if (fine == 3)
			assert_int_equal(got.list[2], want[2]);
	}
	proto_fini(&p);
}

static void frame_names_what_is_out_of_place(void **state)
{
	static const struct {
		int replies[5];
		enum verdict want[5];
	} cases[] = {
		{{1, 0, 2, 3, 4}, {VERDICT_ORDER, VERDICT_ORDER, VERDICT_OK, VERDICT_OK, VERDICT_OK}},
		{{0, 1, 1, 3, 4}, {VERDICT_OK, VERDICT_OK, VERDICT_DUPLICATE, VERDICT_OK, VERDICT_OK}},
		{{2, 0, 1, 3, 4}, {VERDICT_ORDER, VERDICT_ORDER, VERDICT_ORDER, VERDICT_OK, VERDICT_OK}},
		{{0, 2, 2, 3, 4}, {VERDICT_OK, VERDICT_ORDER, VERDICT_DUPLICATE, VERDICT_OK, VERDICT_OK}},
		{{-1, 1, 2, 3, 4}, {VERDICT_DUPLICATE, VERDICT_OK, VERDICT_OK, VERDICT_OK, VERDICT_OK}},
	};
	static struct stream s;
	struct proto p;

	(void)state;
	frame_of(&p, 20);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		s.length = 0;
		for (int turn = 0; turn < 5; turn++)
			append_frame(&s, CONN, (uint64_t)(FIRST_SEQ + cases[i].replies[turn]), 20);
		check_all_cuts(&p, &s, cases[i].want, 5);
	}
	proto_fini(&p);
}

static void frame_knows_other_connections_replies_and_extra_bytes(void **state)
{
	static const enum verdict want[] = {VERDICT_OK, VERDICT_FOREIGN, VERDICT_OK};
	struct asked asked = {CONN, FIRST_SEQ, FIRST_SEQ + 1, {0}};
	static struct stream s;
	struct proto p;

	(void)state;
	frame_of(&p, 20);
	s.length = 0;
	append_frame(&s, CONN, FIRST_SEQ, 20);
	append_frame(&s, CONN + 1, FIRST_SEQ + 1, 20);
	append_frame(&s, CONN, FIRST_SEQ + 2, 20);
	check_all_cuts(&p, &s, want, 3);
	s.length = 0;
	append_frame(&s, CONN, FIRST_SEQ, 20);
	assert_int_equal(p.ops->extra(&p, &asked, s.bytes, s.length), VERDICT_DUPLICATE);
	assert_int_equal(p.ops->extra(&p, &asked, s.bytes, 5), VERDICT_LONG);
	proto_fini(&p);
}

/* --- greet
 * ------------------------------------------------------------------------------------------------------ */

/* One greeting cut at every byte, and the end of the stream behind it. */
static void expect_greeting(struct proto *p, const struct stream *s, enum verdict want)
{
	struct asked asked = {CONN, FIRST_SEQ, FIRST_SEQ + 1, {0}};

	for (size_t cut = 0; cut <= s->length; cut++) {
		struct checker c;
		struct verdicts got = {.count = 0};
		p->ops->start(p, &c);
		if (cut > 0)
			feed(p, &c, s->bytes, cut, 1, &got);
		if (cut < s->length)
			feed(p, &c, s->bytes + cut, s->length - cut, 1, &got);
		assert_int_equal(got.count, 0);
		assert_int_equal(p->ops->eof(p, &c, &asked), want);
	}
}

static void append_greeting(struct stream *s, const struct proto *p, uint32_t conn)
{
	append_text(s, "Hello ");
	append_echo(s, p, conn, FIRST_SEQ); /* the name, and the newline that ends both */
}

static void greet_checks_the_whole_greeting(void **state)
{
	static const size_t sizes[] = {1, 2, 33, 64, 1025};
	static struct stream s;
	struct proto p;

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct options o = {.size = sizes[i], .depth = 1};
		set_up(&p, PROTOCOL_GREET, &o, NULL);
		s.length = 0;
		append_greeting(&s, &p, CONN);
		assert_int_equal(s.bytes[s.length - 1], '\n');
		assert_null(memchr(s.bytes, '\n', s.length - 1));
		expect_greeting(&p, &s, VERDICT_OK);
		append_text(&s, "!");
		expect_greeting(&p, &s, VERDICT_LONG);
		s.length -= 2;
		expect_greeting(&p, &s, VERDICT_SHORT);
		s.length = 0;
		expect_greeting(&p, &s, VERDICT_MORE);
	}
	struct options o = {.size = 40, .depth = 1};
	set_up(&p, PROTOCOL_GREET, &o, NULL);
	for (size_t wrong = 0; wrong < 46; wrong++) {
		s.length = 0;
		append_greeting(&s, &p, CONN);
		s.bytes[wrong] ^= 1;
		expect_greeting(&p, &s, VERDICT_MISMATCH);
	}
	s.length = 0;
	append_greeting(&s, &p, CONN + 1);
	expect_greeting(&p, &s, VERDICT_FOREIGN);
}

/* --- http
 * ------------------------------------------------------------------------------------------------------- */

#define HEAD "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"

static void http_reads_every_framing(void **state)
{
	static const struct {
		const char *reply;
		enum verdict want;
	} cases[] = {
		{HEAD "Content-Length: 9\r\n\r\nmuxbench\n", VERDICT_OK},
		{HEAD "content-length:9\r\nDate: Tue, 15 Nov 1994 08:12:31 GMT\r\n\r\nmuxbench\n", VERDICT_OK},
		{"HTTP/1.1 200\nContent-Length: 9\n\nmuxbench\n", VERDICT_OK},
		{"HTTP/1.1 100 Continue\r\n\r\n" HEAD "Content-Length: 9\r\n\r\nmuxbench\n", VERDICT_OK},
		{HEAD "Transfer-Encoding: chunked\r\n\r\n9\r\nmuxbench\n\r\n0\r\n\r\n", VERDICT_OK},
		{HEAD "Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nmux\r\n006\r\nbench\n\r\n0\r\nTrailer: "
		      "x\r\n\r\n",
			VERDICT_OK},
		{HEAD "Content-Length: 9\r\n\r\nmuxbencx\n", VERDICT_MISMATCH},
		{HEAD "Transfer-Encoding: chunked\r\n\r\n9\r\nMuxbench\n\r\n0\r\n\r\n", VERDICT_MISMATCH},
		{HEAD "Content-Length: 8\r\n\r\nmuxbench", VERDICT_SHORT},
		{HEAD "Content-Length: 10\r\n\r\nmuxbench\n\n", VERDICT_LONG},
		{HEAD "Content-Length: 0\r\n\r\n", VERDICT_SHORT},
		{"HTTP/1.1 503 Busy\r\nContent-Length: 5\r\n\r\nbusy\n", VERDICT_STATUS},
		{"HTTP/1.1 204 No Content\r\n\r\n", VERDICT_STATUS},
		{"HTTP/2 200\r\n", VERDICT_MALFORMED},
		{"nonsense\r\n", VERDICT_MALFORMED},
		{"HTTP/1.1 2x0 OK\r\n", VERDICT_MALFORMED},
		{HEAD "Content-Length: nine\r\n", VERDICT_MALFORMED},
		{HEAD "Content-Length: 99999999999999999999\r\n", VERDICT_MALFORMED},
		{HEAD "Transfer-Encoding: chunked\r\n\r\nx\r\n", VERDICT_MALFORMED},
		{HEAD "Transfer-Encoding: chunked\r\n\r\n1\r\nmm\r\n", VERDICT_MALFORMED},
	};
	static uint8_t request[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n", body[] = "muxbench\n";
	struct expected e = {.request = request,
		.request_len = sizeof(request) - 1,
		.body = body,
		.body_len = 9,
		.status = 200};
	struct options o = {.depth = 8};
	static struct stream s;
	struct proto p;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		/* Behind a good reply, the same again is compared with it as a whole; other ones must not be
		 * harmed by that. */
		const enum verdict want[] = {VERDICT_OK, VERDICT_OK, cases[i].want, VERDICT_OK};
		size_t count = cases[i].want >= VERDICT_FATAL ? 3 : 4;
		set_up(&p, PROTOCOL_HTTP, &o, &e);
		s.length = 0;
		append_text(&s, HEAD "Content-Length: 9\r\n\r\nmuxbench\n");
		append_text(&s, HEAD "Content-Length: 9\r\n\r\nmuxbench\n");
		append_text(&s, cases[i].reply);
		if (count == 4)
			append_text(&s, HEAD "Content-Length: 9\r\n\r\nmuxbench\n");
		check_all_cuts(&p, &s, want, count);
		proto_fini(&p);
	}
}

static void http_says_when_the_server_closes(void **state)
{
	static const struct {
		const char *reply;
		bool closing;
	} cases[] = {
		{HEAD "Content-Length: 1\r\n\r\nx", false},
		{HEAD "Connection: close\r\nContent-Length: 1\r\n\r\nx", true},
		{HEAD "Connection: Keep-Alive\r\nContent-Length: 1\r\n\r\nx", false},
		{"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", true},
		{"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx", false},
	};
	static uint8_t request[] = "GET / HTTP/1.1\r\n\r\n", body[] = "x";
	struct expected e = {.request = request,
		.request_len = sizeof(request) - 1,
		.body = body,
		.body_len = 1,
		.status = 200};
	struct options o = {.depth = 1};
	struct asked asked = {CONN, 0, 1, {0}};
	struct checker c;
	enum verdict verdict;
	struct proto p;

	(void)state;
	set_up(&p, PROTOCOL_HTTP, &o, &e);
	for (int round = 0; round < 2; round++) { /* read, and compared as a whole */
		for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
			for (int again = 0; again < 2; again++) {
				size_t n = strlen(cases[i].reply);
				p.ops->start(&p, &c);
				assert_int_equal(p.ops->check(&p, &c, &asked, (const uint8_t *)cases[i].reply,
							 n, &verdict),
					n);
				assert_int_equal(verdict, VERDICT_OK);
				assert_int_equal(p.closing, cases[i].closing);
			}
		}
	}
	/* A body that ends with the connection. */
	const char *reply = HEAD "\r\nx";
	p.ops->start(&p, &c);
	p.ops->check(&p, &c, &asked, (const uint8_t *)reply, strlen(reply), &verdict);
	assert_int_equal(verdict, VERDICT_MORE);
	assert_int_equal(p.ops->eof(&p, &c, &asked), VERDICT_OK);
	p.ops->start(&p, &c);
	assert_int_equal(p.ops->eof(&p, &c, &asked), VERDICT_MORE);
	proto_fini(&p);
}

/* --- raw
 * -------------------------------------------------------------------------------------------------------- */

static void raw_expects_bytes_or_a_length(void **state)
{
	static const enum verdict right[] = {VERDICT_OK, VERDICT_OK}, wrong[] = {VERDICT_MISMATCH, VERDICT_OK};
	static uint8_t request[] = "PING\r\n", reply[] = "+PONG\r\n";
	struct expected e = {.request = request, .request_len = 6, .body = reply, .body_len = 7};
	struct options o = {.depth = 8};
	static struct stream s;
	struct proto p;

	(void)state;
	set_up(&p, PROTOCOL_RAW, &o, &e);
	s.length = 0;
	append_text(&s, "+PONG\r\n+PONG\r\n");
	check_all_cuts(&p, &s, right, 2);
	s.bytes[1] = 'B';
	check_all_cuts(&p, &s, wrong, 2);
	e.body = NULL;
	check_all_cuts(&p, &s, right, 2);
	proto_fini(&p);
}

static void raw_finds_a_terminator(void **state)
{
	/* Terminators that overlap themselves: a naive search that starts anew after a failure misses the
	 * second. */
	static const enum verdict want[] = {VERDICT_OK, VERDICT_OK, VERDICT_OK};
	struct options o = {.protocol = PROTOCOL_RAW, .depth = 8, .send = "x", .until = "aab"};
	struct expected e;
	static struct stream s;
	struct proto p;
	char why[128];

	(void)state;
	assert_int_equal(expected_init(&e, &o, NULL, why, sizeof(why)), 0);
	set_up(&p, PROTOCOL_RAW, &o, &e);
	s.length = 0;
	append_text(&s, "aab"
			"aaab"
			"caaaaab");
	check_all_cuts(&p, &s, want, 3);
	proto_fini(&p);
	expected_free(&e);
}

static void raw_reads_escapes(void **state)
{
	struct options o = {
		.protocol = PROTOCOL_RAW, .depth = 1, .send = "a\\r\\n\\x00\\xfF\\\\\\0b", .expect = "y"};
	static const uint8_t want[] = {'a', '\r', '\n', 0, 0xff, '\\', 0, 'b'};
	struct expected e;
	char why[128];

	(void)state;
	assert_int_equal(expected_init(&e, &o, NULL, why, sizeof(why)), 0);
	assert_int_equal(e.request_len, sizeof(want));
	assert_memory_equal(e.request, want, sizeof(want));
	expected_free(&e);
	o.send = "\\q";
	assert_int_equal(expected_init(&e, &o, NULL, why, sizeof(why)), 2);
	assert_non_null(strstr(why, "--send"));
	expected_free(&e);
}

static int make_payload(void **state)
{
	(void)state;
	payload_init(&payload, 42);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(echo_accepts_what_was_sent),
		cmocka_unit_test(echo_fills_in_parts),
		cmocka_unit_test(echo_sees_every_wrong_byte),
		cmocka_unit_test(echo_names_what_is_out_of_place),
		cmocka_unit_test(echo_knows_other_connections_replies),
		cmocka_unit_test(echo_tells_extra_bytes_apart),
		cmocka_unit_test(echo_knows_where_the_stream_ended),
		cmocka_unit_test(frame_requests_are_as_documented),
		cmocka_unit_test(frame_accepts_the_right_replies),
		cmocka_unit_test(frame_sees_every_wrong_byte),
		cmocka_unit_test(frame_names_what_is_out_of_place),
		cmocka_unit_test(frame_knows_other_connections_replies_and_extra_bytes),
		cmocka_unit_test(greet_checks_the_whole_greeting),
		cmocka_unit_test(http_reads_every_framing),
		cmocka_unit_test(http_says_when_the_server_closes),
		cmocka_unit_test(raw_expects_bytes_or_a_length),
		cmocka_unit_test(raw_finds_a_terminator),
		cmocka_unit_test(raw_reads_escapes),
	};
	return cmocka_run_group_tests(tests, make_payload, NULL);
}
