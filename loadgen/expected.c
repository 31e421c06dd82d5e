#include "expected.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "block.h"
#include "clock.h"
#include "http_reply.h"
#include "options.h"

const char *const content_names[] = {"bytes", "blocks", "length"};

enum { MAX_TEXT = 1 << 26, STATUS_FAILED = 1, STATUS_USAGE = 2 };

/* How often the rehearsal looks whether somebody has interrupted it. */
static const uint64_t LOOK_NS = 50 * NS_PER_MS;

/* --- bytes from the command line --- */

static bool read_file(const char *path, uint8_t **bytes, size_t *length, char *why, size_t size)
{
	FILE *file = fopen(path, "re");

	*bytes = malloc(MAX_TEXT);
	if (!file || !*bytes) {
		snprintf(why, size, "%s: %s", path, strerror(errno));
		if (file)
			fclose(file);
		return false;
	}
	*length = fread(*bytes, 1, MAX_TEXT, file);
	bool whole = feof(file) && !ferror(file);
	fclose(file);
	if (!whole)
		snprintf(why, size, "%s: cannot be read, or is larger than %d bytes", path, MAX_TEXT);
	return whole;
}

static int hex_value(char c)
{
	return isdigit((unsigned char)c) ? c - '0' : (tolower((unsigned char)c) - 'a') + 10;
}

/* Reads one escape behind a backslash; returns how many characters it has, 0 when it is none. */
static size_t escape(const char *at, uint8_t *out)
{
	static const char names[] = "nrt0\\\"e", values[] = "\n\r\t\0\\\"\033";
	const char *found = *at ? strchr(names, *at) : NULL;

	if (found) {
		*out = (uint8_t)values[found - names];
		return 1;
	}
	if (at[0] != 'x' || !isxdigit((unsigned char)at[1]) || !isxdigit((unsigned char)at[2]))
		return 0;
	*out = (uint8_t)(hex_value(at[1]) * 16 + hex_value(at[2]));
	return 3;
}

/* The bytes of TEXT (with \r \n \t \0 \\ \xHH) or of the file in @FILE. */
static bool bytes_of(
	const char *option, const char *text, uint8_t **bytes, size_t *length, char *why, size_t size)
{
	char problem[256];

	if (text[0] == '@') {
		if (read_file(text + 1, bytes, length, problem, sizeof(problem)))
			return true;
		snprintf(why, size, "--%s %s", option, problem);
		return false;
	}
	*bytes = malloc(strlen(text) + 1);
	*length = 0;
	for (const char *at = text; *bytes && *at;) {
		size_t used = 1;
		(*bytes)[*length] = (uint8_t)*at;
		if (*at == '\\')
			used += escape(at + 1, &(*bytes)[*length]);
		if (*at == '\\' && used == 1) {
			snprintf(why, size, "--%s: \\%c is no escape; known are \\r \\n \\t \\0 \\e \\\\ \\xHH",
				option, at[1]);
			return false;
		}
		(*length)++;
		at += used;
	}
	return *bytes != NULL;
}

/* --- raw --- */

/* fallback[i]: the length of the longest proper prefix of pattern[0..i] that is also its end. */
static uint32_t *fallbacks(const uint8_t *pattern, size_t n)
{
	uint32_t *f = calloc(n, sizeof(*f)), k = 0;

	for (size_t i = 1; f && i < n; i++) {
		while (k > 0 && pattern[k] != pattern[i])
			k = f[k - 1];
		if (pattern[k] == pattern[i])
			k++;
		f[i] = k;
	}
	return f;
}

static int init_raw(struct expected *e, const struct options *o, char *why, size_t size)
{
	if (!bytes_of("send", o->send, &e->request, &e->request_len, why, size))
		return STATUS_USAGE;
	if (o->reply_given)
		e->body_len = (size_t)o->reply;
	else if (o->expect && !bytes_of("expect", o->expect, &e->body, &e->body_len, why, size))
		return STATUS_USAGE;
	else if (o->until && !bytes_of("until", o->until, &e->body, &e->body_len, why, size))
		return STATUS_USAGE;
	if (o->until)
		e->fallback = fallbacks(e->body, e->body_len);
	if (e->request_len > 0 && e->body_len > 0)
		return 0;
	snprintf(why, size, "--protocol raw: neither the request nor the expected reply can be empty");
	return STATUS_USAGE;
}

/* --- http --- */

/* A path with numbers is cut where its digits belong. */
static bool make_request(struct expected *e, const struct options *o)
{
	const char *host = strncmp(o->target, "unix:", 5) == 0 ? "localhost" : o->target;
	const struct numbers *numbers = &o->numbers;
	char *text = NULL;
	FILE *out = open_memstream(&text, &e->request_len);

	if (!out)
		return false;
	int before = numbers->any ? (int)numbers->at : (int)strlen(o->path);
	fprintf(out, "GET %.*s%s HTTP/1.1\r\nHost: %s\r\n", before, o->path,
		numbers->any ? o->path + numbers->end : "", host);
	for (uint32_t i = 0; i < o->header_count; i++)
		fprintf(out, "%s\r\n", o->headers[i]);
	fprintf(out, "\r\n");
	fclose(out);
	e->request = (uint8_t *)text;
	e->number_at = strlen("GET ") + (size_t)before;
	return text != NULL;
}

/* SIGINT and SIGTERM are blocked, and wait to be taken. */
static bool is_interrupted(void)
{
	sigset_t pending;

	return sigpending(&pending) == 0 && (sigismember(&pending, SIGINT) || sigismember(&pending, SIGTERM));
}

static bool wait_for(int fd, short events, uint64_t deadline_ns)
{
	struct pollfd one = {.fd = fd, .events = events};

	for (uint64_t now; (now = clock_now()) < deadline_ns && !is_interrupted();) {
		uint64_t left_ns = deadline_ns - now < LOOK_NS ? deadline_ns - now : LOOK_NS;
		struct timespec left = clock_timespec(left_ns);
		if (ppoll(&one, 1, &left, NULL) > 0)
			return true;
	}
	return false;
}

static bool send_all(int fd, const uint8_t *data, size_t length, uint64_t deadline_ns)
{
	while (length > 0) {
		ssize_t n = send(fd, data, length, MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN && wait_for(fd, POLLOUT, deadline_ns))
			continue;
		if (n <= 0)
			return false;
		data += n;
		length -= (size_t)n;
	}
	return true;
}

/* Of a path with numbers, the first. */
static bool send_request(const struct expected *e, const struct options *o, int fd, uint64_t deadline_ns)
{
	char number[16] = "";

	if (o->numbers.any)
		snprintf(number, sizeof(number), "%u", o->numbers.first);
	return send_all(fd, e->request, e->number_at, deadline_ns) &&
	       send_all(fd, (const uint8_t *)number, strlen(number), deadline_ns) &&
	       send_all(fd, e->request + e->number_at, e->request_len - e->number_at, deadline_ns);
}

static bool keep(struct expected *e, const uint8_t *body, size_t n)
{
	uint8_t *grown = realloc(e->body, e->body_len + n + 1);

	if (!grown)
		return false;
	memcpy(grown + e->body_len, body, n);
	e->body = grown;
	e->body_len += n;
	return true;
}

/* Reads one reply and keeps its body. NULL, or what went wrong. */
static const char *read_reply(struct expected *e, struct http_reply *reply, int fd, uint64_t deadline_ns)
{
	static uint8_t buffer[65536];
	const uint8_t *body;
	size_t body_len;

	http_reply_start(reply);
	while (reply->state < HTTP_DONE) {
		if (!wait_for(fd, POLLIN, deadline_ns))
			return "no reply within --timeout";
		ssize_t n = recv(fd, buffer, sizeof(buffer), 0);
		if (n < 0 && errno != EAGAIN)
			return strerror(errno);
		if (n == 0)
			return http_reply_eof(reply) ? NULL : "the server closed before the reply was complete";
		for (size_t used = 0; n > 0 && used < (size_t)n && reply->state < HTTP_DONE;) {
			used += http_reply_feed(reply, buffer + used, (size_t)n - used, &body, &body_len);
			if (body_len > 0 && !keep(e, body, body_len))
				return "out of memory";
		}
	}
	return reply->state == HTTP_BAD ? "this is no HTTP reply" : NULL;
}

static const char *rehearse_on(struct expected *e, const struct options *o, int fd)
{
	struct http_reply reply;
	uint64_t deadline_ns = clock_now() + o->connect_timeout_ns;

	if (!wait_for(fd, POLLOUT, deadline_ns))
		return "connect: no answer within --connect-timeout";
	int error = net_connect_result(fd);
	if (error)
		return strerror(error);
	deadline_ns = clock_now() + o->timeout_ns;
	if (!send_request(e, o, fd, deadline_ns))
		return "the request could not be sent";
	const char *problem = read_reply(e, &reply, fd, deadline_ns);
	e->status = reply.status;
	return problem;
}

/* Of a path with numbers one reply says what the others can be held against. */
static enum content learned_content(const struct expected *e, const struct options *o)
{
	if (!o->numbers.any)
		return CONTENT_BYTES;
	bool block = e->body_len == BLOCK_BYTES && block_equal(o->numbers.first, 0, e->body, e->body_len);
	return block ? CONTENT_BLOCKS : CONTENT_LENGTH;
}

static int rehearse(
	struct expected *e, const struct options *o, const struct target *target, char *why, size_t size)
{
	int fd = net_connect(target, 0);
	const char *problem = fd < 0 ? strerror(-fd) : rehearse_on(e, o, fd);

	if (fd >= 0)
		close(fd);
	if (problem && is_interrupted())
		problem = "interrupted";
	if (problem) {
		snprintf(why, size, "%s: the rehearsal of GET %s failed: %s", o->target, o->path, problem);
		return STATUS_FAILED;
	}
	e->learned = true;
	e->content = learned_content(e, o);
	if (o->expect_status ? e->status == o->expect_status : e->status / 100 == 2)
		return 0;
	snprintf(why, size, "%s: GET %s is answered with status %d; if that is right, say --expect-status %d",
		o->target, o->path, e->status, e->status);
	return STATUS_FAILED;
}

static int init_http(
	struct expected *e, const struct options *o, const struct target *target, char *why, size_t size)
{
	if (!make_request(e, o)) {
		snprintf(why, size, "out of memory");
		return STATUS_FAILED;
	}
	if (!o->expect)
		return rehearse(e, o, target, why, size);
	e->status = (uint16_t)(o->expect_status ? o->expect_status : 200);
	return bytes_of("expect", o->expect, &e->body, &e->body_len, why, size) ? 0 : STATUS_USAGE;
}

int expected_init(
	struct expected *e, const struct options *o, const struct target *target, char *why, size_t size)
{
	memset(e, 0, sizeof(*e));
	if (o->protocol == PROTOCOL_RAW)
		return init_raw(e, o, why, size);
	if (o->protocol == PROTOCOL_HTTP)
		return init_http(e, o, target, why, size);
	return 0;
}

void expected_free(struct expected *e)
{
	free(e->request);
	free(e->body);
	free(e->fallback);
}
