/* Where the server is, and sockets towards it. */
#ifndef LOADGEN_NET_H
#define LOADGEN_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

struct target {
	struct sockaddr_storage address;
	socklen_t address_len;
	unsigned sources; /* local addresses to rotate over, from 127.0.1.1 on; 0: the kernel chooses */
	bool no_delay;
	int receive_buffer, send_buffer; /* bytes; 0: the kernel's own choice */
	int busy_poll_us;                /* 0: the kernel's own choice */
};

/* Resolves HOST:PORT, [IPV6]:PORT or unix:PATH. False: `why` says in one line what is wrong with it. */
bool net_resolve(const char *text, struct target *target, char *why, size_t why_size);

/* The addresses are 127.x.x.x: any of them can also be a source. */
bool net_is_loopback4(const struct target *target);

/* A non-blocking socket whose connect has begun (it may have ended already; wait for writability either way).
 * `turn` picks the source. Returns the fd, or -errno. */
int net_connect(const struct target *target, unsigned turn);

/* Acknowledges at once what has been received; the kernel soon returns to its own judgement. */
void net_quick_ack(int fd);

/* How a connect ended: 0 or its errno. */
int net_connect_result(int fd);

#endif
