#include "http_reply.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MAX_HEAD = 65536 };

void http_reply_start(struct http_reply *r)
{
	memset(r, 0, offsetof(struct http_reply, line));
}

/* The value of this header, blanks around it cut off; NULL when the line is another header. */
static const char *header_value(char *line, const char *name)
{
	size_t length = strlen(name);

	if (strncasecmp(line, name, length) != 0 || line[length] != ':')
		return NULL;
	char *value = line + length + 1;
	value += strspn(value, " \t");
	for (size_t end = strlen(value); end > 0 && (value[end - 1] == ' ' || value[end - 1] == '\t'); end--)
		value[end - 1] = '\0';
	return value;
}

/* A whole line of digits in this base; false otherwise, and where the number does not fit into 62 bits. */
static bool whole_number(const char *text, int base, const char *ends, uint64_t *out)
{
	char *end;

	/* strtoull() would also take blanks, a sign and 0x. */
	if (!(base == 16 ? isxdigit((unsigned char)text[0]) : isdigit((unsigned char)text[0])) ||
		tolower((unsigned char)text[1]) == 'x')
		return false;
	unsigned long long value = strtoull(text, &end, base);
	if ((*end != '\0' && !strchr(ends, *end)) || value >> 62)
		return false;
	*out = value;
	return true;
}

static enum http_state status_line(struct http_reply *r)
{
	const char *line = r->line;

	/* HTTP/1.x SP 3DIGIT [SP reason] */
	if (strncmp(line, "HTTP/1.", 7) != 0 || !isdigit((unsigned char)line[7]) || line[8] != ' ')
		return HTTP_BAD;
	for (int i = 9; i < 12; i++) {
		if (!isdigit((unsigned char)line[i]))
			return HTTP_BAD;
	}
	if (line[12] != '\0' && line[12] != ' ')
		return HTTP_BAD;
	r->closing = line[7] == '0';
	r->status = (uint16_t)((line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0'));
	return HTTP_HEADER;
}

/* The empty line behind the headers: what follows? */
static enum http_state head_end(struct http_reply *r)
{
	if (r->status / 100 == 1) { /* an interim reply: the real one follows */
		http_reply_start(r);
		return HTTP_STATUS_LINE;
	}
	if (r->status == 204 || r->status == 304)
		return HTTP_DONE;
	if (r->chunked)
		return HTTP_CHUNK_SIZE;
	if (r->has_length)
		return r->left > 0 ? HTTP_BODY : HTTP_DONE;
	r->closing = true;
	return HTTP_BODY_EOF;
}

static enum http_state header(struct http_reply *r)
{
	const char *value;

	if (r->line[0] == '\0')
		return head_end(r);
	if ((value = header_value(r->line, "Content-Length"))) {
		r->has_length = true;
		return whole_number(value, 10, "", &r->left) ? HTTP_HEADER : HTTP_BAD;
	}
	if ((value = header_value(r->line, "Transfer-Encoding")))
		r->chunked = strcasecmp(value, "chunked") == 0;
	else if ((value = header_value(r->line, "Connection")))
		r->closing =
			strcasecmp(value, "close") == 0 || (r->closing && strcasecmp(value, "keep-alive") != 0);
	return HTTP_HEADER;
}

static enum http_state line_done(struct http_reply *r)
{
	switch (r->state) {
	case HTTP_STATUS_LINE:
		return status_line(r);
	case HTTP_HEADER:
		return header(r);
	case HTTP_CHUNK_SIZE:
		if (!whole_number(r->line, 16, "; \t", &r->left))
			return HTTP_BAD;
		return r->left > 0 ? HTTP_CHUNK : HTTP_TRAILER;
	case HTTP_CHUNK_END:
		return r->line[0] == '\0' ? HTTP_CHUNK_SIZE : HTTP_BAD;
	default: /* HTTP_TRAILER */
		return r->line[0] == '\0' ? HTTP_DONE : HTTP_TRAILER;
	}
}

/* Takes bytes up to the end of the line, and keeps its beginning. */
static size_t feed_line(struct http_reply *r, const uint8_t *data, size_t n)
{
	const uint8_t *newline = memchr(data, '\n', n);
	size_t taken = newline ? (size_t)(newline - data) + 1 : n, part = newline ? taken - 1 : n;
	size_t room = HTTP_LINE_KEPT - 1u - r->line_len;

	if (part > room)
		part = room;
	memcpy(r->line + r->line_len, data, part);
	r->line_len = (uint16_t)(r->line_len + part);
	r->head_bytes += (uint32_t)taken;
	if (newline) {
		if (r->line_len > 0 && r->line[r->line_len - 1] == '\r')
			r->line_len--;
		r->line[r->line_len] = '\0';
		r->line_len = 0;
		r->state = (uint8_t)line_done(r);
	} else if (r->head_bytes > MAX_HEAD) {
		r->state = HTTP_BAD;
	}
	return taken;
}

size_t http_reply_feed(
	struct http_reply *r, const uint8_t *data, size_t n, const uint8_t **body, size_t *body_len)
{
	size_t part = n;

	*body_len = 0;
	switch (r->state) {
	case HTTP_BODY:
	case HTTP_CHUNK:
		if (part > r->left)
			part = (size_t)r->left;
		r->left -= part;
		if (r->left == 0)
			r->state = r->state == HTTP_BODY ? HTTP_DONE : HTTP_CHUNK_END;
		/* fall through */
	case HTTP_BODY_EOF:
		*body = data;
		*body_len = part;
		return part;
	default:
		return feed_line(r, data, n);
	}
}

bool http_reply_eof(struct http_reply *r)
{
	if (r->state == HTTP_BODY_EOF)
		r->state = HTTP_DONE;
	return r->state == HTTP_DONE;
}
