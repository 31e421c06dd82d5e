/* What the two floor clients have in common: connections, the request and its reply's length, counting, the
 * result. A floor client makes the load generator's system calls with next to nothing around them: a reply is
 * so many bytes, which nobody looks at, and the next request follows it. Its CPU time per request is what no
 * client that makes these calls can go below.
 *
 *   floor_client_epoll HOST:PORT PATH CONNECTIONS SECONDS     (IPv4; 200 ms of warm-up come before)
 */
#ifndef FLOOR_CLIENT_H
#define FLOOR_CLIENT_H

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

enum { MOST_CONNECTIONS = 4096, INBOX_BYTES = 65536 };

struct floor_client {
	struct sockaddr_in address;
	char request[2048];
	size_t request_len, reply_len;
	unsigned connections;
	int fds[MOST_CONNECTIONS];
	size_t left[MOST_CONNECTIONS]; /* bytes of the reply under way that have not come yet */
	uint64_t replies;
	uint64_t begin_ns, end_ns;                        /* the window */
	uint64_t replies_before, cpu_before_ns, begun_ns; /* as the window began; begun_ns 0: it has not */
};

_Noreturn static inline void floor_die(const char *what)
{
	perror(what);
	exit(1);
}

static inline uint64_t floor_clock(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline int floor_connect(const struct floor_client *f)
{
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) ||
		connect(fd, (const struct sockaddr *)&f->address, sizeof(f->address)))
		floor_die("connect");
	return fd;
}

/* Asks once and reads the whole reply: its head, and as many bytes as its Content-Length says. */
static inline size_t floor_learn(const struct floor_client *f)
{
	static char reply[INBOX_BYTES];
	size_t got = 0;
	int fd = floor_connect(f);

	if (send(fd, f->request, f->request_len, MSG_NOSIGNAL) != (ssize_t)f->request_len)
		floor_die("send");
	for (;;) {
		ssize_t n = recv(fd, reply + got, sizeof(reply) - 1 - got, 0);
		if (n <= 0)
			floor_die("the first reply");
		got += (size_t)n;
		reply[got] = '\0';
		const char *end = strstr(reply, "\r\n\r\n"), *length = strcasestr(reply, "\r\ncontent-length:");
		if (!end)
			continue;
		size_t whole = (size_t)(end + 4 - reply) + (length ? strtoul(length + 17, NULL, 10) : 0);
		if (got >= whole) {
			close(fd);
			return whole;
		}
	}
}

static inline void floor_start(struct floor_client *f, int argc, char **argv)
{
	char host[64];
	unsigned port;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (argc != 5 || sscanf(argv[1], "%63[0-9.]:%u", host, &port) != 2) {
		fprintf(stderr, "usage: %s HOST:PORT PATH CONNECTIONS SECONDS\n", argv[0]);
		exit(2);
	}
	f->address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	f->connections = (unsigned)strtoul(argv[3], NULL, 10);
	if (inet_pton(AF_INET, host, &f->address.sin_addr) != 1 || f->connections < 1 ||
		f->connections > MOST_CONNECTIONS) {
		fprintf(stderr, "%s: HOST is an IPv4 address, CONNECTIONS 1 to %d\n", argv[0],
			MOST_CONNECTIONS);
		exit(2);
	}
	int length = snprintf(
		f->request, sizeof(f->request), "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", argv[2], argv[1]);
	if (length < 0 || (size_t)length >= sizeof(f->request))
		floor_die("PATH is too long");
	f->request_len = (size_t)length;
	f->reply_len = floor_learn(f);
	for (unsigned i = 0; i < f->connections; i++) {
		f->fds[i] = floor_connect(f);
		f->left[i] = f->reply_len;
	}
	f->begin_ns = floor_clock(CLOCK_MONOTONIC) + 200000000u;
	f->end_ns = f->begin_ns + (uint64_t)(strtod(argv[4], NULL) * 1e9);
}

/* n bytes came on connection i. True: its reply is whole, and the next request is due. */
static inline bool floor_received(struct floor_client *f, unsigned i, size_t n)
{
	if (n > f->left[i]) {
		fprintf(stderr, "floor client: more came than was asked for\n");
		exit(1);
	}
	f->left[i] -= n;
	if (f->left[i])
		return false;
	f->left[i] = f->reply_len;
	f->replies++;
	return true;
}

/* Behind each batch: opens and closes the window. True: it is over, and the result has been printed. */
static inline bool floor_over(struct floor_client *f)
{
	uint64_t now = floor_clock(CLOCK_MONOTONIC);

	if (now < f->begin_ns)
		return false;
	if (!f->begun_ns) {
		f->begun_ns = now;
		f->end_ns +=
			now - f->begin_ns; /* as long as asked, even if this process got no CPU for a while */
		f->replies_before = f->replies;
		f->cpu_before_ns = floor_clock(CLOCK_PROCESS_CPUTIME_ID);
	}
	if (now < f->end_ns)
		return false;
	uint64_t requests = f->replies - f->replies_before;
	uint64_t cpu_ns = floor_clock(CLOCK_PROCESS_CPUTIME_ID) - f->cpu_before_ns;
	printf("{\"requests\": %llu, \"window_ns\": %llu, \"cpu_ns\": %llu}\n", (unsigned long long)requests,
		(unsigned long long)(now - f->begun_ns), (unsigned long long)cpu_ns);
	return true;
}

#endif
