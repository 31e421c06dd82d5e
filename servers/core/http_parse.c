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

/* Behind the run of such bytes. A head ends with LF, which is of no kind: no run leaves it. */
static const char *past(const char *at, uint8_t what)
{
	while (kind[(uint8_t)*at] & what)
		at++;
	return at;
}

/* Behind the end of a line, LF or CR LF; NULL if there is none here. */
static const char *past_line_end(const char *at)
{
	if (*at == '\r')
		at++;
	return *at == '\n' ? at + 1 : NULL;
}

static bool is(struct text text, const char *word, size_t len)
{
	return text.len == len && strncasecmp(text.at, word, len) == 0;
}
#define IS(text, word) is(text, word, sizeof word - 1)

static struct text trimmed(const char *begin, const char *end)
{
	while (begin < end && (*begin == ' ' || *begin == '\t'))
		begin++;
	while (end > begin && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	return (struct text){begin, (size_t)(end - begin)};
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

static enum http_method method_of(struct text method)
{
	if (method.len == 3 && memcmp(method.at, "GET", 3) == 0)
		return HTTP_GET;
	if (method.len == 4 && memcmp(method.at, "HEAD", 4) == 0)
		return HTTP_HEAD;
	return HTTP_OTHER; /* also `get`: methods are case-sensitive */
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
	return at < uri.len && uri.at[at] == '/' ? (struct text){uri.at + at, uri.len - at}
						 : (struct text){"/", 1};
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

/* Returns where the next line begins, or NULL: malformed. So does parse_field(). */
static const char *parse_request_line(struct http_request *request, const char *line)
{
	const char *method_end = past(line, TOKEN);
	if (method_end == line || *method_end != ' ')
		return NULL;
	request->method = method_of((struct text){line, (size_t)(method_end - line)});
	const char *target = method_end + 1, *target_end = past(target, VISIBLE);
	if (*target_end != ' ' || !parse_target(request, (struct text){target, (size_t)(target_end - target)}))
		return NULL;
	const char *version = target_end + 1, *version_end = past(version, VISIBLE);
	if (!parse_version(request, (struct text){version, (size_t)(version_end - version)}))
		return NULL;
	return past_line_end(version_end);
}

static void parse_connection(struct http_request *request, struct text value)
{
	const char *end = value.at + value.len;
	for (const char *at = value.at; at < end;) {
		const char *comma = memchr(at, ',', (size_t)(end - at));
		struct text option = trimmed(at, comma ? comma : end);
		request->close |= IS(option, "close");
		request->keep_alive |= IS(option, "keep-alive");
		at = comma ? comma + 1 : end;
	}
}

/* A request with a body is refused: a GET has none, and bytes taken for the next request are how smuggling
 * works. */
static bool has_no_body(struct text value)
{
	return value.len > 0 && strspn(value.at, "0") >= value.len; /* a line's end stops strspn */
}

static const char *parse_field(struct http_request *request, const char *line, unsigned *hosts)
{
	const char *colon = past(line, TOKEN);
	if (colon == line || *colon != ':')
		return NULL;
	const char *end = past(colon + 1, FIELD);
	struct text name = {line, (size_t)(colon - line)}, value = trimmed(colon + 1, end);
	bool good = true;
	switch (name.len) { /* so that most fields cost no comparison */
	case 4:
		*hosts += IS(name, "host");
		break;
	case 10:
		if (IS(name, "connection"))
			parse_connection(request, value);
		break;
	case 14:
		good = !IS(name, "content-length") || has_no_body(value);
		break;
	case 17:
		good = !IS(name, "transfer-encoding");
		break;
	}
	return good ? past_line_end(end) : NULL;
}

ssize_t http_parse(struct http_request *request, const uint8_t *data, size_t n)
{
	size_t head = head_length(data, n < HTTP_HEAD_MAX ? n : HTTP_HEAD_MAX);
	if (head == 0)
		return n < HTTP_HEAD_MAX ? HTTP_INCOMPLETE : HTTP_TOO_LARGE;
	request->close = request->keep_alive = false;
	const char *line = parse_request_line(request, (const char *)data);
	unsigned hosts = 0;
	while (line && *line != '\r' && *line != '\n')
		line = parse_field(request, line, &hosts);
	if (!line || !past_line_end(line) || hosts > 1 || (hosts == 0 && request->version == HTTP_1_1))
		return HTTP_MALFORMED;
	return (ssize_t)head;
}
