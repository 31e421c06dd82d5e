#include "net.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "parse.h"

static bool resolve_unix(const char *path, struct target *target, char *why, size_t size)
{
	struct sockaddr_un *address = (struct sockaddr_un *)&target->address;

	if (path[0] == '\0' || strlen(path) >= sizeof(address->sun_path)) {
		snprintf(why, size, "--target unix:%s: a path has 1 to %zu bytes", path,
			sizeof(address->sun_path) - 1);
		return false;
	}
	address->sun_family = AF_UNIX;
	memcpy(address->sun_path, path, strlen(path) + 1);
	target->address_len = sizeof(*address);
	return true;
}

/* Splits HOST:PORT or [HOST]:PORT; false when it is neither. */
static bool split(const char *text, char *host, size_t host_size, const char **port)
{
	const char *colon = strrchr(text, ':');

	if (!colon || colon == text || colon[1] == '\0')
		return false;
	size_t length = (size_t)(colon - text);
	if (text[0] == '[') {
		if (colon[-1] != ']' || length < 3)
			return false;
		text++;
		length -= 2;
	} else if (memchr(text, ':', length)) {
		return false;
	}
	if (length >= host_size)
		return false;
	memcpy(host, text, length);
	host[length] = '\0';
	*port = colon + 1;
	return true;
}

bool net_resolve(const char *text, struct target *target, char *why, size_t size)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
	char host[256];
	const char *port;

	memset(target, 0, sizeof(*target));
	if (strncmp(text, "unix:", 5) == 0)
		return resolve_unix(text + 5, target, why, size);
	if (!split(text, host, sizeof(host), &port)) {
		snprintf(why, size, "--target %s: expected HOST:PORT, [IPV6]:PORT or unix:PATH", text);
		return false;
	}
	uint64_t number;
	if (!parse_count(port, &number) || number < 1 || number > 65535) {
		snprintf(why, size, "--target %s: a port is a number from 1 to 65535", text);
		return false;
	}
	int failed = getaddrinfo(host, port, &hints, &found);
	if (failed) {
		snprintf(why, size, "--target %s: %s", text, gai_strerror(failed));
		return false;
	}
	memcpy(&target->address, found->ai_addr, found->ai_addrlen);
	target->address_len = found->ai_addrlen;
	freeaddrinfo(found);
	return true;
}

bool net_is_loopback4(const struct target *target)
{
	const struct sockaddr_in *address = (const struct sockaddr_in *)&target->address;

	return address->sin_family == AF_INET && ntohl(address->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
}

/* Binds to one of 127.0.1.1, 127.0.1.2, ... and leaves the port to connect(), which can then use one port
 * towards many servers: bind() alone would have to find one that is free altogether. */
static int bind_source(int fd, const struct target *target, unsigned turn)
{
	struct sockaddr_in source = {.sin_family = AF_INET};

	source.sin_addr.s_addr = htonl(0x7f000101u + turn % target->sources);
	if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &(int){1}, sizeof(int)) < 0)
		return -1;
	return bind(fd, (const struct sockaddr *)&source, sizeof(source));
}

/* Zero leaves an option as it is. */
static int choose(int fd, int level, int option, int value)
{
	return value > 0 ? setsockopt(fd, level, option, &value, sizeof(value)) : 0;
}

static int prepare(int fd, const struct target *target, unsigned turn)
{
	if (choose(fd, SOL_SOCKET, SO_RCVBUF, target->receive_buffer) < 0 ||
		choose(fd, SOL_SOCKET, SO_SNDBUF, target->send_buffer) < 0 ||
		choose(fd, SOL_SOCKET, SO_BUSY_POLL, target->busy_poll_us) < 0)
		return -1;
	if (target->address.ss_family == AF_UNIX)
		return 0;
	if (choose(fd, IPPROTO_TCP, TCP_NODELAY, target->no_delay) < 0)
		return -1;
	return target->sources > 0 ? bind_source(fd, target, turn) : 0;
}

int net_connect(const struct target *target, unsigned turn)
{
	int fd = socket(target->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (prepare(fd, target, turn) == 0 &&
		(connect(fd, (const struct sockaddr *)&target->address, target->address_len) == 0 ||
			errno == EINPROGRESS))
		return fd;
	int error = errno;
	close(fd);
	return -error;
}

void net_quick_ack(int fd)
{
	setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &(int){1}, sizeof(int)); /* a Unix socket has none */
}

int net_connect_result(int fd)
{
	int error = 0;
	socklen_t length = sizeof(error);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
		return errno;
	return error;
}
