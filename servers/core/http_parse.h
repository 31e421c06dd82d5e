/* The head of an HTTP/1.x request, parsed in place: no allocation, no state, so any way of splitting it gives
 * the same answer. Source: RFC 9112 (syntax), RFC 9110 (fields). */
#ifndef HTTP_PARSE_H
#define HTTP_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { HTTP_HEAD_MAX = 8192 }; /* bytes of a head, its empty line included */

struct http_request {
	enum http_method { HTTP_GET, HTTP_HEAD, HTTP_OTHER } method;
	enum { HTTP_1_0, HTTP_1_1, HTTP_UNKNOWN } version;
	const char *path; /* into the input, without scheme, authority and query */
	size_t path_len;
	bool close, keep_alive; /* what the Connection field asks for */
};

enum { HTTP_INCOMPLETE = 0, HTTP_MALFORMED = -1, HTTP_TOO_LARGE = -2 };

/* The length of the head at the start of the input, with *request filled in, or one of the three above. */
ssize_t http_parse(struct http_request *request, const uint8_t *data, size_t n);

#endif
