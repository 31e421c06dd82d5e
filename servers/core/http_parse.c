#include "http_parse.h"

#include <string.h>
#include <strings.h>

enum { TOKEN = 1, VISIBLE = 2, FIELD = 4 }; /* what a byte may stand in: a name, a target, a field's value */

/* RFC 9110: token characters; VCHAR; field content with blanks and obs-text (the bytes from 0x80). */
// clang-format off
static const uint8_t kind[256] = {
	['\t'] = FIELD, [' '] = FIELD, [0x80 ... 0xff] = FIELD,
	['!'] = 7, ['"'] = 6, ['#' ... '\''] = 7, ['('] = 6, [')'] = 6, ['*'] = 7, ['+'] = 7, [','] = 6,
	['-'] = 7, ['.'] = 7, ['/'] = 6, ['0' ... '9'] = 7, [':' ... '@'] = 6, ['A' ... 'Z'] = 7,
	['[' ... ']'] = 6, ['^' ... 'z'] = 7, ['{'] = 6, ['|'] = 7, ['}'] = 6, ['~'] = 7,
};
// clang-format on

struct text { /* a piece of the input */
	const char *at;
	size_t len;
};

static bool is_blank(char byte)
{
	return byte == ' ' || byte == '\t';
}

static size_t run_of(struct text text, uint8_t what)
{
	size_t n = 0;
	while (n < text.len && kind[(uint8_t)text.at[n]] & what)
		n++;
	return n;
}

static struct text after(struct text text, size_t n)
{
	return (struct text){text.at + n, text.len - n};
}

static bool is(struct text text, const char *word, size_t len)
{
	return text.len == len && strncasecmp(text.at, word, len) == 0;
}
#define IS(text, word) is(text, word, sizeof word - 1)

/* Takes the line at *rest, without its end, which is LF or CR LF. The caller knows that there is one. */
static struct text take_line(struct text *rest)
{
	const char *newline = memchr(rest->at, '\n', rest->len);
	struct text line = {rest->at, (size_t)(newline - rest->at)};
	*rest = after(*rest, line.len + 1);
	if (line.len > 0 && line.at[line.len - 1] == '\r')
		line.len--;
	return line;
}

/* Bytes up to and including the first empty line, looked for in the first n bytes; 0 if it is not there. */
static size_t head_length(const uint8_t *data, size_t n)
{
	const uint8_t *at = data, *end = data + n;
	while ((at = memchr(at, '\n', (size_t)(end - at)))) {
		at++;
		if (at < end && *at == '\n')
			return (size_t)(at + 1 - data);
		if (at + 1 < end && at[0] == '\r' && at[1] == '\n')
			return (size_t)(at + 2 - data);
	}
	return 0;
}

/* The path of a whole URI, whose scheme and authority do not matter here; empty if it is not one of http. */
static struct text path_of_uri(struct text uri)
{
	static const char scheme[] = "http://", end_of_authority[] = "/?#";
	size_t at = sizeof scheme - 1;
	if (uri.len <= at || strncasecmp(uri.at, scheme, at) != 0 || strchr(end_of_authority, uri.at[at]))
		return (struct text){"", 0};
	while (at < uri.len && !strchr(end_of_authority, uri.at[at]))
		at++;
	return at < uri.len && uri.at[at] == '/' ? after(uri, at) : (struct text){"/", 1};
}

/* A target is a path or a whole URI (RFC 9112, 3.2); of a method that is not served it may be anything. */
static bool parse_target(struct http_request *request, struct text target)
{
	if (target.len > 0 && target.at[0] != '/' && request->method != HTTP_OTHER)
		target = path_of_uri(target);
	const char *query = memchr(target.at, '?', target.len);
	request->path = target.at;
	request->path_len = query ? (size_t)(query - target.at) : target.len;
	return target.len > 0;
}

static bool parse_version(struct http_request *request, struct text text)
{
	if (text.len != 8 || memcmp(text.at, "HTTP/", 5) != 0 || text.at[6] != '.')
		return false;
	char major = text.at[5], minor = text.at[7];
	if (major < '0' || major > '9' || minor < '0' || minor > '9')
		return false;
	request->version = major != '1' || minor > '1' ? HTTP_UNKNOWN : minor == '1' ? HTTP_1_1 : HTTP_1_0;
	return true;
}

static bool parse_request_line(struct http_request *request, struct text line)
{
	struct text method = {line.at, run_of(line, TOKEN)};
	if (method.len == 0 || method.len == line.len || line.at[method.len] != ' ')
		return false;
	request->method = HTTP_OTHER; /* methods are case-sensitive */
	if (method.len == 3 && memcmp(method.at, "GET", 3) == 0)
		request->method = HTTP_GET;
	else if (method.len == 4 && memcmp(method.at, "HEAD", 4) == 0)
		request->method = HTTP_HEAD;
	line = after(line, method.len + 1);
	struct text target = {line.at, run_of(line, VISIBLE)};
	if (target.len == line.len || line.at[target.len] != ' ' || !parse_target(request, target))
		return false;
	return parse_version(request, after(line, target.len + 1));
}

static void parse_connection(struct http_request *request, struct text value)
{
	while (value.len > 0) {
		const char *comma = memchr(value.at, ',', value.len);
		struct text option = {value.at, comma ? (size_t)(comma - value.at) : value.len};
		value = after(value, option.len + (comma != NULL));
		while (option.len > 0 && is_blank(option.at[0]))
			option = after(option, 1);
		while (option.len > 0 && is_blank(option.at[option.len - 1]))
			option.len--;
		request->close |= IS(option, "close");
		request->keep_alive |= IS(option, "keep-alive");
	}
}

/* A request with a body is refused: a GET has none, and bytes taken for the next request are how smuggling
 * works. */
static bool has_no_body(struct text value)
{
	while (value.len > 0 && is_blank(value.at[value.len - 1]))
		value.len--;
	return value.len > 0 && strspn(value.at, "0") >= value.len; /* a line's end stops strspn */
}

static bool parse_field(struct http_request *request, struct text line, unsigned *hosts)
{
	struct text name = {line.at, run_of(line, TOKEN)};
	if (name.len == 0 || name.len == line.len || line.at[name.len] != ':')
		return false;
	struct text value = after(line, name.len + 1);
	if (run_of(value, FIELD) != value.len)
		return false;
	while (value.len > 0 && is_blank(value.at[0]))
		value = after(value, 1);
	switch (name.len) { /* so that most fields cost no comparison */
	case 4:
		*hosts += IS(name, "host");
		return true;
	case 10:
		if (IS(name, "connection"))
			parse_connection(request, value);
		return true;
	case 14:
		return !IS(name, "content-length") || has_no_body(value);
	case 17:
		return !IS(name, "transfer-encoding");
	default:
		return true;
	}
}

ssize_t http_parse(struct http_request *request, const uint8_t *data, size_t n)
{
	size_t head = head_length(data, n < HTTP_HEAD_MAX ? n : HTTP_HEAD_MAX);
	if (head == 0)
		return n < HTTP_HEAD_MAX ? HTTP_INCOMPLETE : HTTP_TOO_LARGE;
	struct text rest = {(const char *)data, head};
	request->close = request->keep_alive = false;
	if (!parse_request_line(request, take_line(&rest)))
		return HTTP_MALFORMED;
	unsigned hosts = 0;
	for (struct text line = take_line(&rest); line.len > 0; line = take_line(&rest))
		if (!parse_field(request, line, &hosts))
			return HTTP_MALFORMED;
	if (hosts > 1 || (hosts == 0 && request->version == HTTP_1_1))
		return HTTP_MALFORMED;
	return (ssize_t)head;
}
