/* An echo server for more connections than there can be threads: one thread, level-triggered epoll, messages of
 * 64 bytes that come and go whole, which is all that its tests send. First line of stdout: READY port=N. On
 * SIGTERM it prints {"accepted": n, "messages": n, "closed": n} and ends. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MESSAGE = 64, BATCH = 256 };

static volatile sig_atomic_t over;
static unsigned long long accepted, messages, closed;

static void end(int signal_number)
{
	(void)signal_number;
	over = 1;
}

static int listen_somewhere(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) < 0 || listen(fd, SOMAXCONN) < 0 ||
		getsockname(fd, (struct sockaddr *)&address, &length) < 0) {
		perror("peer_many");
		exit(1);
	}
	printf("READY port=%d\n", ntohs(address.sin_port));
	fflush(stdout);
	return fd;
}

static void watch(int epoll_fd, int fd)
{
	struct epoll_event interest = {.events = EPOLLIN, .data.fd = fd};

	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &interest) < 0) {
		perror("peer_many: epoll_ctl");
		exit(1);
	}
}

static void accept_all(int epoll_fd, int listen_fd)
{
	for (int fd; (fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK)) >= 0; accepted++) {
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
		watch(epoll_fd, fd);
	}
}

static void answer(int fd)
{
	char message[MESSAGE];
	ssize_t n = recv(fd, message, sizeof(message), 0);

	if (n == sizeof(message) && send(fd, message, sizeof(message), MSG_NOSIGNAL) == n) {
		messages++;
		return;
	}
	if (n < 0 && errno == EAGAIN)
		return;
	close(fd);
	closed++;
}

int main(void)
{
	struct rlimit limit;
	struct epoll_event events[BATCH];
	int epoll_fd = epoll_create1(0), listen_fd = listen_somewhere();

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	sigaction(SIGTERM, &(struct sigaction){.sa_handler = end}, NULL);
	watch(epoll_fd, listen_fd);
	while (!over) {
		int n = epoll_wait(epoll_fd, events, BATCH, 100);
		for (int i = 0; i < n; i++) {
			if (events[i].data.fd == listen_fd)
				accept_all(epoll_fd, listen_fd);
			else
				answer(events[i].data.fd);
		}
	}
	printf("{\"accepted\": %llu, \"messages\": %llu, \"closed\": %llu}\n", accepted, messages, closed);
	return 0;
}
