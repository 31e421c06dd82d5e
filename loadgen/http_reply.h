/* An incremental reader of HTTP/1.x replies, sans-I/O: fed any pieces of the stream, it says where the reply
 * ends and which bytes are body. Reads Content-Length, chunked and bodies that end with the connection. */
#ifndef LOADGEN_HTTP_REPLY_H
#define LOADGEN_HTTP_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum http_state {
	HTTP_STATUS_LINE,
	HTTP_HEADER,
	HTTP_BODY,     /* `left` more bytes */
	HTTP_BODY_EOF, /* until the stream ends */
	HTTP_CHUNK_SIZE,
	HTTP_CHUNK,     /* `left` more bytes */
	HTTP_CHUNK_END, /* the line end behind a chunk */
	HTTP_TRAILER,
	HTTP_DONE,
	HTTP_BAD, /* this is no HTTP reply */
};

enum { HTTP_LINE_KEPT = 160 }; /* what is read of a line; the rest of a longer one does not matter here */

struct http_reply {
	uint8_t state; /* enum http_state */
	bool closing;  /* the server closes after this reply */
	bool chunked, has_length;
	uint16_t status;
	uint16_t line_len;
	uint32_t head_bytes;
	uint64_t left;
	char line[HTTP_LINE_KEPT];
};

void http_reply_start(struct http_reply *r);

/* Takes some of n > 0 bytes and returns how many, at least one; stops at the reply's end. Those of them that
 * are body are body[0..body_len). Not to be called in states HTTP_DONE and HTTP_BAD. */
size_t http_reply_feed(
	struct http_reply *r, const uint8_t *data, size_t n, const uint8_t **body, size_t *body_len);

/* The stream has ended: is the reply complete? */
bool http_reply_eof(struct http_reply *r);

#endif
