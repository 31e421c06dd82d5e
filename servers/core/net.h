/* One system call each, with its errno folded into what a server does next. errno is kept for the counters.
 */
#ifndef NET_H
#define NET_H

#include "conn.h"

#include <sys/types.h>

enum {
	NET_AGAIN = -1,  /* nothing to be had now: wait for readiness */
	NET_FAILED = -2, /* this peer is gone, errno says how: close it and go on */
	NET_FULL = -3, /* accept only: no descriptor or memory left; stop accepting until a client is closed */
};

/* Bytes received into data, 0 at the peer's end of stream, NET_AGAIN or NET_FAILED. */
ssize_t net_recv(int fd, void *data, size_t size);

/* Bytes taken by the kernel, possibly fewer than given, NET_AGAIN or NET_FAILED. Raises no SIGPIPE. */
ssize_t net_send(int fd, struct span span);

/* A connection, with accept4's flags; or NET_AGAIN, also for a connection that died in the queue and for a
 * signal; or NET_FULL; or NET_FAILED where the listener itself is at fault. TCP_NODELAY comes from the
 * listener. */
int net_accept(int listen_fd, int flags);

/* NET_AGAIN, NET_FULL or NET_FAILED for the errno of an accept that was made another way. */
int net_accept_failure(int error);

#endif
