/* http: the paths of docs/protocols.md over HTTP/1.1 with keep-alive and pipelining. */
#include "body.h"
#include "http_parse.h"
#include "protocol.h"

#include <assert.h>
#include <string.h>

enum {
	HEAD_ROOM = 160, /* more than the longest reply head and fixed body, and the NUL behind it */
	DELAY_MAX_MS = 60000,
	WORK_MAX_US = 1000000,
	FILE_BLOCK = 4096,
};
#define BYTES_MAX (UINT64_C(1) << 30)

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

static void write_reply(struct conn *conn, const struct reply *reply, bool more)
{
	bool generated = !reply->body && !reply->head_only;
	struct block *out = body_block(conn, HEAD_ROOM + (generated ? reply->length : 0), more);
	write_head(out, reply);
	conn->closing = reply->close;
	if (generated)
		body_write(conn, out, 0, reply->length);
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
		*pause = pause_delay(core, core->delay_ns);
	} else if (number_after(request, "/bytes/", BYTES_MAX, &number)) {
		*pause = pause_delay(core, core->delay_ns);
		reply.body = NULL;
		reply.length = number;
	} else if (number_after(request, "/delay/", DELAY_MAX_MS, &number)) {
		*pause = pause_delay(core, number * 1000000);
	} else if (number_after(request, "/work/", WORK_MAX_US, &number)) {
		if (number > 0)
			*pause = (struct pause){.kind = PAUSE_WORK, .amount = number * core->loops_per_us};
	} else if (core->file_blocks > 0 && number_after(request, "/file/", core->file_blocks - 1, &number)) {
		*pause = (struct pause){
			.kind = PAUSE_FILE, .fd = core->file_fd, .offset = (off_t)(number * FILE_BLOCK)};
		reply.length = FILE_BLOCK;
		reply.body = NULL;
		reply.from_file = true;
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
	while (body_ready(conn, HEAD_ROOM)) {
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
			write_reply(conn, &reply, end < n);
		}
		conn->core->requests++;
		at = end;
	}
	return at;
}

/* The head ends where the block of the file begins, so that both leave in one send. */
static void write_file_reply(struct conn *conn)
{
	struct block *out = conn->out;
	struct reply *reply = &conn->reply;
	uint8_t *body = conn->pause.buf;
	write_head(out, reply);
	memmove(body - out->end, out->data, out->end);
	out->begin = (uint32_t)(body - out->data) - out->end;
	out->end = (uint32_t)(body - out->data) + (reply->head_only ? 0 : FILE_BLOCK);
	conn->closing = reply->close;
}

void http_lend(struct conn *conn)
{
	struct block *out = body_block(conn, BLOCK_LARGE, true);
	uintptr_t after_head = (uintptr_t)out->data + HEAD_ROOM;
	conn->pause.buf = (void *)((after_head + FILE_BLOCK - 1) / FILE_BLOCK * FILE_BLOCK);
	conn->pause.len = FILE_BLOCK;
	conn->pause.got = &conn->reply.got;
}

static struct reply read_failed(const struct reply *wanted)
{
	struct reply reply = fixed(STATUS("500 Internal Server Error"), "read failed\n", wanted->close);
	reply.head_only = wanted->head_only;
	reply.keep_alive = wanted->keep_alive;
	return reply;
}

void http_resume(struct conn *conn)
{
	struct reply reply = conn->reply;
	if (reply.from_file && reply.got != FILE_BLOCK)
		reply = read_failed(&reply);
	if (reply.from_file)
		write_file_reply(conn);
	else
		write_reply(conn, &reply, conn->in != NULL);
}
