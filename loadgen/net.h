/* Where the server is, and sockets towards it. */
#ifndef LOADGEN_NET_H
#define LOADGEN_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

struct target {
	struct sockaddr_storage address;
	socklen_t address_len;
};

/* Resolves HOST:PORT, [IPV6]:PORT or unix:PATH. False: `why` says in one line what is wrong with it. */
bool net_resolve(const char *text, struct target *target, char *why, size_t why_size);

/* A non-blocking socket whose connect has begun (it may have ended already; wait for writability either way).
 * Returns the fd, or -errno. */
int net_connect(const struct target *target);

/* How a connect ended: 0 or its errno. */
int net_connect_result(int fd);

#endif
