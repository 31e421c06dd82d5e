/* The request and the right reply of protocols where both are the same every time: http and raw. */
#ifndef LOADGEN_EXPECTED_H
#define LOADGEN_EXPECTED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net.h"

struct options;

/* What is compared of a body. */
enum content {
	CONTENT_BYTES,  /* all of it */
	CONTENT_BLOCKS, /* all of it: it is the block of that number (block.h) */
	CONTENT_LENGTH, /* its length: the path has numbers, and the body is unknown for all but one */
};

extern const char *const content_names[];

struct expected {
	uint8_t *request;
	size_t request_len;
	size_t number_at; /* where the digits of the path's number belong, which are not in `request` */
	enum content content;
	uint8_t *body;      /* http: the body; raw: the whole reply or its terminator; NULL: any bytes (raw) */
	size_t body_len;    /* raw: the length of the reply, or of its terminator */
	uint32_t *fallback; /* raw with a terminator: for each prefix of it, the longest that is also its end */
	uint16_t status;    /* http */
	bool learned;       /* http: from a rehearsal before the load, else from --expect */
};

/* Makes request and reply from the options. Where http is to learn the reply, that takes one request on a
 * connection of its own. 0; or the exit status that the run ends with, and `why`. Frees with expected_free() in
 * both cases. */
int expected_init(
	struct expected *e, const struct options *o, const struct target *target, char *why, size_t why_size);
void expected_free(struct expected *e);

#endif
