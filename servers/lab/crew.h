/* Workers as threads or processes, and a listener for each: what the pages with several event loops share. */
#ifndef CREW_H
#define CREW_H

#include "server.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct hand { /* a worker's, to be waited for */
	pthread_t thread;
	pid_t pid; /* 0 for a thread */
};

/* Zeroed memory that child processes share; it is never given back. */
static inline void *crew_memory(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		die("no memory for workers: %s", strerror(errno));
	return memory;
}

/* A process ends when work() returns, and with its parent. */
static inline struct hand crew_start(bool process, void *(*work)(void *), void *worker)
{
	struct hand hand = {0};
	pid_t parent = getpid();
	if (!process) {
		int error = pthread_create(&hand.thread, NULL, work, worker);
		if (error)
			die("pthread_create: %s", strerror(error));
		return hand;
	}
	hand.pid = fork();
	if (hand.pid < 0)
		die("fork: %s", strerror(errno));
	if (hand.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent) /* it died before that */
			exit(1);
		work(worker);
		exit(0);
	}
	return hand;
}

/* Waits for its end; false if a process did not end well. */
static inline bool crew_join(struct hand hand)
{
	int status = 0;
	if (hand.pid == 0)
		return pthread_join(hand.thread, NULL) == 0;
	return waitpid(hand.pid, &status, 0) != hand.pid || status == 0;
}

static inline void crew_share_port(int fd)
{
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &(int){1}, sizeof(int)) != 0)
		cannot_run("setsockopt SO_REUSEPORT: %s; it needs Linux 3.9", strerror(errno));
}

/* One more listener at the address of another, over which the kernel spreads its clients; both must share their
 * port. `flags` as for socket(2). */
static inline int crew_listener(int other, int flags, int backlog)
{
	struct sockaddr_storage address;
	socklen_t size = sizeof address;
	getsockname(other, (struct sockaddr *)&address, &size);
	int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
	if (fd < 0)
		die("a worker's own listener: %s", strerror(errno));
	crew_share_port(fd);
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) != 0 ||
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)) != 0 ||
		bind(fd, (struct sockaddr *)&address, size) != 0 || listen(fd, backlog) != 0)
		die("a worker's own listener: %s", strerror(errno));
	return fd;
}

#endif
