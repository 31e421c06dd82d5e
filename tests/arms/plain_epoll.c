/* plain_epoll: the epoll echo loop of every tutorial, without a protocol core: what `make reach` holds epoll_lt
 * against, so that the price of the core is known. It is no contract server: it listens, says READY, and echoes
 * whole reads with whole sends; a reply that does not fit into the socket ends it.
 *
 * It is also the control of `make compare`: it shares no code with the servers, so no commit to them can move
 * it, and what moves it is the host. Leave it as it is: a change here begins a new history.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

static int listen_on_free_port(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof address;
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) ||
		bind(fd, (struct sockaddr *)&address, size) || listen(fd, SOMAXCONN) ||
		getsockname(fd, (struct sockaddr *)&address, &size)) {
		perror("plain_epoll");
		exit(1);
	}
	printf("READY port=%u\n", ntohs(address.sin_port));
	fflush(stdout);
	return fd;
}

static void leave(int signal_number)
{
	(void)signal_number;
	_exit(0);
}

int main(void)
{
	static char data[65536];
	signal(SIGTERM, leave);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	int listen_fd = listen_on_free_port(), epoll_fd = epoll_create1(0);
	struct epoll_event events[256], event = {.events = EPOLLIN, .data.fd = listen_fd};
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &event);
	for (;;) {
		int n = epoll_wait(epoll_fd, events, 256, -1);
		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;
			if (fd == listen_fd) {
				event.data.fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK);
				if (event.data.fd >= 0)
					epoll_ctl(epoll_fd, EPOLL_CTL_ADD, event.data.fd, &event);
				continue;
			}
			ssize_t size = recv(fd, data, sizeof data, 0);
			if (size <= 0)
				close(fd);
			else if (send(fd, data, (size_t)size, MSG_NOSIGNAL) != size)
				exit(1);
		}
	}
}
