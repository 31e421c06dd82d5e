/* A connection and its requests, as the flow sees them. */
#ifndef LOADGEN_CONN_H
#define LOADGEN_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "checker.h"
#include "choice.h"

enum conn_state {
	CONN_DOWN,       /* no socket */
	CONN_CONNECTING, /* connect begun, not ended */
	CONN_UP,
};

struct request {
	uint64_t intended_ns; /* when it was due: by the schedule (open), when its place was free again (closed)
			       */
	uint64_t sent_ns; /* just before its first byte went to the kernel, or its connect began; 0: not yet */
	struct choice choice; /* what is asked */
	uint32_t length;      /* in bytes */
	bool counted;         /* due inside the window */
};

/* One slot for a connection. When the connection fails, the slot gets a new one: the count never shrinks.
 * Requests are numbered for the life of the slot: [answered, issued) are in flight, [sending, issued) not yet
 * wholly sent. */
struct conn {
	int fd;
	uint32_t id;   /* the number of the slot in the whole run, as its payloads carry it */
	uint32_t life; /* counts the slot's sockets, so that a late event of an earlier one is known as such */
	uint8_t state;
	bool idle;             /* opened and silent */
	bool want_send;        /* the kernel had no room: the engine sends on when it has */
	bool to_open;          /* down, and to be opened at retry_ns */
	uint64_t served;       /* good replies to requests of the window, over all lives */
	uint64_t send_gate_ns; /* paced: no part is sent before this moment */
	bool send_waits;       /* paced: its next part is queued in worker.senders */
	bool read_waits;       /* paced: its next read is queued in worker.readers */
	uint32_t places;       /* of this connection in worker.places */
	uint64_t issued, sending, answered;
	size_t send_off;          /* bytes of request `sending` that the kernel has taken */
	struct request *requests; /* a ring of worker.ring_mask + 1; NULL for an idle one */
	uint64_t first;           /* number of the first request of this life */
	uint64_t last_byte_ns; /* when the last bytes arrived; kept for replies that end with the connection */
	uint64_t opened_ns, ready_ns,
		retry_ns;  /* connect begun; able to take requests since; to be opened at */
	uint32_t attempts; /* connects failed in a row */
	struct checker checker;
};

#endif
