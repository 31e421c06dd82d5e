/* http: the paths of docs/protocols.md over HTTP/1.1 with keep-alive and pipelining. */
#include "http_parse.h"
#include "protocol.h"

#include <assert.h>
#include <string.h>

enum {
	HEAD_ROOM = 160, /* more than the longest reply head and fixed body, and the NUL behind it */
	DELAY_MAX_MS = 60000,
	WORK_MAX_US = 1000000,
};
#define BYTES_MAX (UINT64_C(1) << 30)

#define PATTERN_64  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
#define TIMES_4(s)  s s s s
#define TIMES_64(s) TIMES_4(TIMES_4(TIMES_4(s)))

/* 1,025 periods: 64 KiB can be lent from any place in the first one. */
enum { PATTERN_PERIOD = 64, PATTERN_SPAN = 65536 };
static const char pattern[] = TIMES_4(TIMES_4(TIMES_64(PATTERN_64))) PATTERN_64;
static_assert(sizeof pattern - 1 == PATTERN_SPAN + PATTERN_PERIOD, "a span must fit behind any start");

struct span http_body(uint64_t at, uint64_t end)
{
	uint64_t left = end > at ? end - at : 0;
	size_t len = left < PATTERN_SPAN ? (size_t)left : PATTERN_SPAN;
	return (struct span){(const uint8_t *)pattern + at % PATTERN_PERIOD, len};
}

/* Too full for another reply: requests wait until it is sent, and are not looked at before, or every byte that
 * comes behind them would have them parsed again. */
static bool is_full(const struct block *out)
{
	return out && block_tail(out) < HEAD_ROOM;
}

/* Where a reply goes, which is not full. A large block is worth it for replies that then leave in one send: a
 * body that fits, and those of more requests behind this one. What is longer is lent from the pattern instead.
 */
static struct block *reply_block(struct conn *conn, const struct reply *reply, bool more)
{
	uint64_t size = HEAD_ROOM + (reply->body || reply->head_only ? 0 : reply->length);
	if (!conn->out)
		conn->out = block_get(&conn->core->blocks,
			size <= BLOCK_LARGE && (more || size > BLOCK_SMALL) ? BLOCK_LARGE : BLOCK_SMALL);
	return conn->out;
}

static char *put_number(char *at, uint64_t number)
{
	char digits[20];
	size_t n = sizeof digits;
	do
		digits[--n] = (char)('0' + number % 10);
	while (number /= 10);
	return mempcpy(at, digits + n, sizeof digits - n);
}

/* Everything but a generated body. */
static void write_head(struct block *out, const struct reply *reply)
{
	assert(block_tail(out) >= HEAD_ROOM);
	char *at = (char *)out->data + out->end;
	at = stpcpy(at, reply->status);
	at = put_number(at, reply->length);
	if (reply->close)
		at = stpcpy(at, "\r\nConnection: close\r\n\r\n");
	else if (reply->keep_alive)
		at = stpcpy(at, "\r\nConnection: keep-alive\r\n\r\n");
	else
		at = stpcpy(at, "\r\n\r\n");
	if (reply->body && !reply->head_only)
		at = stpcpy(at, reply->body);
	out->end = (uint32_t)((uint8_t *)at - out->data);
}

/* Writes the reply, of a generated body as much as fits; the rest is lent from the pattern. */
static void write_reply(struct conn *conn, struct block *out, const struct reply *reply)
{
	write_head(out, reply);
	if (reply->close)
		conn->closing = true;
	if (reply->body || reply->head_only)
		return;
	conn->body_end = reply->length;
	for (conn->body_at = 0; conn->body_at < conn->body_end;) {
		struct span body = http_body(conn->body_at, conn->body_end);
		size_t n = body.len < block_tail(out) ? body.len : block_tail(out);
		if (n == 0)
			return;
		block_append(out, body.data, n);
		conn->body_at += n;
	}
}

/* A reply up to the value of Content-Length. */
#define STATUS(line) "HTTP/1.1 " line "\r\nContent-Type: text/plain\r\nContent-Length: "

static struct reply fixed(const char *status, const char *body, bool close)
{
	return (struct reply){.status = status, .body = body, .length = strlen(body), .close = close};
}

/* The number after `prefix`, which must be the whole rest of the path; false if it is none or above `max`. */
static bool number_after(const struct http_request *request, const char *prefix, uint64_t max, uint64_t *number)
{
	size_t skip = strlen(prefix);
	if (request->path_len <= skip || memcmp(request->path, prefix, skip) != 0)
		return false;
	*number = 0;
	for (size_t i = skip; i < request->path_len; i++) {
		unsigned digit = (unsigned)(request->path[i] - '0');
		if (digit > 9)
			return false;
		*number = *number * 10 + digit;
		if (*number > max)
			return false;
	}
	return true;
}

static struct pause delay(const struct core *core, uint64_t ns)
{
	if (ns == 0)
		return (struct pause){0};
	return (struct pause){core->delay_blocks ? PAUSE_SLEEP : PAUSE_DELAY, ns};
}

/* The answer to a well-formed request, and the pause before it. */
static struct reply answer(const struct http_request *request, const struct core *core, struct pause *pause)
{
	struct reply reply = fixed(STATUS("200 OK"), "muxbench\n", false);
	uint64_t number;
	if (request->version == HTTP_UNKNOWN)
		return fixed(STATUS("505 HTTP Version Not Supported"), "version not supported\n", true);
	if (request->method == HTTP_OTHER)
		return fixed(STATUS("501 Not Implemented"), "not implemented\n", true);
	if (request->path_len == 1) {
		*pause = delay(core, core->delay_ns);
	} else if (number_after(request, "/bytes/", BYTES_MAX, &number)) {
		*pause = delay(core, core->delay_ns);
		reply.body = NULL;
		reply.length = number;
	} else if (number_after(request, "/delay/", DELAY_MAX_MS, &number)) {
		*pause = delay(core, number * 1000000);
	} else if (number_after(request, "/work/", WORK_MAX_US, &number)) {
		if (number > 0)
			*pause = (struct pause){PAUSE_WORK, number * core->loops_per_us};
	} else {
		reply = fixed(STATUS("404 Not Found"), "not found\n", false);
	}
	reply.head_only = request->method == HTTP_HEAD;
	reply.close = request->close || (request->version == HTTP_1_0 && !request->keep_alive);
	reply.keep_alive = request->version == HTTP_1_0 && !reply.close;
	return reply;
}

static size_t skip_empty_lines(const uint8_t *data, size_t n)
{
	size_t at = 0;
	while (at < n && (data[at] == '\n' || (data[at] == '\r' && at + 1 < n && data[at + 1] == '\n')))
		at += data[at] == '\n' ? 1 : 2;
	return at;
}

static struct reply refusal(ssize_t failure)
{
	if (failure == HTTP_TOO_LARGE)
		return fixed(STATUS("431 Request Header Fields Too Large"), "head too large\n", true);
	return fixed(STATUS("400 Bad Request"), "bad request\n", true);
}

size_t http_take(struct conn *conn, const uint8_t *data, size_t n)
{
	size_t at = 0;
	while (conn->pause.kind == PAUSE_NONE && conn->body_at == conn->body_end && !conn->closing &&
		!is_full(conn->out)) {
		at += skip_empty_lines(data + at, n - at);
		struct http_request request;
		ssize_t head = http_parse(&request, data + at, n - at);
		if (head == HTTP_INCOMPLETE)
			break;
		struct pause pause = {0};
		struct reply reply = head < 0 ? refusal(head) : answer(&request, conn->core, &pause);
		size_t end = at + (size_t)(head < 0 ? 0 : head);
		if (pause.kind != PAUSE_NONE) {
			conn->pause = pause;
			conn->reply = reply;
		} else {
			write_reply(conn, reply_block(conn, &reply, end < n), &reply);
		}
		conn->core->requests++;
		at = end;
	}
	return at;
}

void http_resume(struct conn *conn)
{
	write_reply(conn, reply_block(conn, &conn->reply, conn->in != NULL), &conn->reply);
}
