/* Where a connection stands in the reply it waits for; one for each connection, one part of it for each
 * protocol. */
#ifndef LOADGEN_CHECKER_H
#define LOADGEN_CHECKER_H

#include <stdbool.h>
#include <stdint.h>

#include "http_reply.h"
#include "order.h"
#include "payload.h"

struct checker_echo {
	uint64_t off; /* bytes of the current reply seen */
	bool bad;
	struct order order;
	uint8_t head[PAYLOAD_HEAD];
};

enum { FRAME_HEAD = 16 };

struct checker_frame {
	uint64_t off, length; /* bytes of the current reply seen; of the whole reply, known behind its head */
	bool bad;
	struct order order;
	uint8_t head[FRAME_HEAD];
};

enum { GREET_HEAD = 32 }; /* bytes of a greeting's name that tell whose it is */

struct checker_greet {
	uint64_t off;
	bool bad;
	uint8_t head[6 + GREET_HEAD];
};

struct checker_http {
	bool inside;  /* a reply has begun that did not come in one piece */
	bool differs; /* its body is not the expected one */
	uint64_t body_off;
	struct http_reply reply;
};

struct checker_raw {
	uint64_t off;
	bool bad;
	uint32_t matched; /* bytes of the terminator */
};

struct checker {
	union {
		struct checker_echo echo;
		struct checker_frame frame;
		struct checker_greet greet;
		struct checker_http http;
		struct checker_raw raw;
	};
};

#endif
