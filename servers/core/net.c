#include "net.h"

#include "portable.h"

#include <errno.h>
#include <sys/socket.h>

ssize_t net_recv(int fd, void *data, size_t size)
{
	ssize_t n = recv(fd, data, size, 0);
	if (n >= 0)
		return n;
	return errno == EAGAIN || errno == EINTR ? NET_AGAIN : NET_FAILED;
}

ssize_t net_send(int fd, struct span span)
{
	ssize_t n = send(fd, span.data, span.len, MSG_NOSIGNAL);
	if (n >= 0)
		return n;
	return errno == EAGAIN || errno == EINTR ? NET_AGAIN : NET_FAILED;
}

int net_accept(int listen_fd, int flags)
{
	int fd = accept4(listen_fd, NULL, NULL, flags);
	return fd >= 0 ? fd : net_accept_failure(errno);
}

int net_accept_failure(int error)
{
	switch (error) {
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
		return NET_FULL;
	case EBADF:
	case EINVAL:
	case ENOTSOCK:
	case EOPNOTSUPP:
	case EFAULT:
		return NET_FAILED;
	default: /* accept(2): Linux passes on the new connection's pending network errors; the next one may
		    be well */
		return NET_AGAIN;
	}
}
