/* A protocol of the generator, sans-I/O: it writes requests and checks replies, and knows no socket, no clock
 * and no thread. A request is a pure function of its connection and number, so nothing is kept of what was
 * sent; a reply may arrive cut at any byte. One `struct proto` per thread (http learns replies), one `struct
 * checker` per connection. */
#ifndef LOADGEN_PROTO_H
#define LOADGEN_PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "checker.h"
#include "choice.h"
#include "options.h"
#include "payload.h"

struct expected;

/* What became of one reply. Everything between OK and FATAL had the right length: its connection is still in
 * step. */
enum verdict {
	VERDICT_MORE, /* not complete yet */
	VERDICT_OK,
	VERDICT_MISMATCH, /* the right length, wrong bytes */
	VERDICT_ORDER,    /* the reply of another request in flight on this connection */
	VERDICT_FOREIGN,  /* the reply of another connection's request */
	VERDICT_STATUS,   /* http: a status other than the expected one */
	VERDICT_FATAL,    /* from here on the byte stream cannot be trusted any more */
	VERDICT_SHORT = VERDICT_FATAL,
	VERDICT_LONG,
	VERDICT_DUPLICATE, /* the reply of a request that was answered before */
	VERDICT_MALFORMED, /* no reply of this protocol at all; counted as a mismatch */
};

/* A request: its bytes, and those of its reply, are a pure function of this. */
struct asked {
	uint32_t conn;
	uint64_t seq;
	uint64_t issued; /* its reply is looked at: requests [seq, issued) of this connection are in flight */
	struct choice choice;
};

struct proto;

struct proto_ops {
	const char *name;
	bool until_eof; /* one request per connection; the reply is complete when the server has closed */

	/* Prepares p, whose kinds know their options and replies: request_len of each, reply_hint, and what is
	 * its own. False: no memory. */
	bool (*init)(struct proto *p);
	void (*fini)(struct proto *p); /* may be NULL */

	/* A new connection begins. */
	void (*start)(const struct proto *p, struct checker *c);

	/* Writes bytes [off, off + n) of a request, n > 0, within its length. Unused where `constant` is set.
	 */
	void (*fill)(const struct proto *p, const struct asked *asked, size_t off, uint8_t *out, size_t n);

	/* Looks at n > 0 bytes of the stream. Returns how many belonged to the reply of `asked`; when it is not
	 * complete, all of them and VERDICT_MORE. */
	size_t (*check)(struct proto *p, struct checker *c, const struct asked *asked, const uint8_t *data,
		size_t n, enum verdict *verdict);

	/* The stream ended while `asked` was waiting for its reply, some of which may have come: VERDICT_OK
	 * where the end completes it, else VERDICT_SHORT, or VERDICT_MORE when not a byte of it had come. */
	enum verdict (*eof)(struct proto *p, struct checker *c, const struct asked *asked);

	/* n > 0 bytes came that nobody asked for, behind the reply before `asked`: VERDICT_LONG, or
	 * VERDICT_DUPLICATE when they begin as an earlier reply did. */
	enum verdict (*extra)(const struct proto *p, const struct asked *asked, const uint8_t *data, size_t n);
};

/* One class of requests (--class); where none are given there is one, the load's own. */
struct kind {
	const struct options *options;
	const struct expected *expected;
	size_t request_len; /* bytes of one request; where a path has numbers, without their digits */
	uint64_t delay_ns;  /* the server was asked to wait so long: a reply before that is wrong */
};

struct proto {
	const struct proto_ops *ops;
	struct kind kinds[MAX_CLASSES];
	uint32_t kind_count;
	bool numbered;           /* some path has numbers */
	const uint8_t *constant; /* where all requests are the same bytes: `constant_count` of them, one after
				    another */
	size_t constant_count;
	bool closing;      /* set by check(): the reply just completed said that the server closes after it */
	size_t reply_hint; /* about how long the longest reply is */
	const struct payload *payload;
	void *state; /* the protocol's own */
};

extern const struct proto_ops proto_echo, proto_greet, proto_http, proto_frame, proto_raw;

/* Prepares *p for one load; `expected`: one for each of its classes. proto_fini() also after a failure. False:
 * no memory. */
bool proto_init(struct proto *p, const struct options *load, const struct payload *payload,
	const struct expected *expected);
void proto_fini(struct proto *p);

/* For init(): makes `constant` of the request of the only class. The bytes are freed by free(). False: no
 * memory. */
bool proto_repeat(struct proto *p, uint8_t **bytes);

/* Bytes of the request of this choice, and of the longest one. */
size_t proto_request_len(const struct proto *p, struct choice choice);
size_t proto_longest(const struct proto *p);

#endif
