/* floor_client_epoll: one recv, one send and a share of one epoll_pwait2 per request, as the load generator's
 * epoll engine makes them, and nothing else. `make reach` shows it beside the engine. See floor_client.h. */
#include "floor_client.h"

#include <sys/epoll.h>

enum { BATCH = 256 };

static void ask(const struct floor_client *f, int fd)
{
	if (send(fd, f->request, f->request_len, MSG_NOSIGNAL) != (ssize_t)f->request_len)
		floor_die("send");
}

int main(int argc, char **argv)
{
	static struct floor_client f;
	static char inbox[INBOX_BYTES];
	struct epoll_event events[BATCH];

	floor_start(&f, argc, argv);
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	for (unsigned i = 0; i < f.connections; i++) {
		struct epoll_event interest = {
			.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.u32 = i};
		if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, f.fds[i], &interest))
			floor_die("epoll_ctl");
		ask(&f, f.fds[i]);
	}
	while (!floor_over(&f)) {
		int n = epoll_pwait2(epoll_fd, events, BATCH, NULL, NULL);
		for (int i = 0; i < n; i++) {
			unsigned which = events[i].data.u32;
			if (!(events[i].events & EPOLLIN))
				continue;
			ssize_t size = recv(f.fds[which], inbox, sizeof(inbox), MSG_DONTWAIT);
			if (size <= 0)
				floor_die("recv");
			if (floor_received(&f, which, (size_t)size))
				ask(&f, f.fds[which]);
		}
	}
	return 0;
}
