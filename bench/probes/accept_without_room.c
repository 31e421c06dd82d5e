/* accept_without_room: what does a loop see when accept() has no descriptor to give?
 *
 * accept() fails with EMFILE and leaves the connection where it is. So the listener stays ready: a
 * level-triggered loop is told again at once, fails again, and spins, for as long as the process is out of
 * descriptors. Edge-triggered it does not spin, and does not hear of the waiting one either until another
 * client comes. A client notices nothing of it: its connection is complete. What helps is to stop watching the
 * listener until a descriptor is free, as the pages of servers/ do.
 */
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TURNS = 1000 };

static struct sockaddr_in address;
static int listener;

/* From here on the process has no number left to give. */
static void use_up(bool up)
{
	static struct rlimit before;
	if (!up) {
		must(setrlimit(RLIMIT_NOFILE, &before));
		return;
	}
	must(getrlimit(RLIMIT_NOFILE, &before));
	int next = must(dup(listener));
	close(next);
	struct rlimit none_left = {.rlim_cur = (rlim_t)next, .rlim_max = before.rlim_max};
	must(setrlimit(RLIMIT_NOFILE, &none_left));
}

/* A loop that does nothing about it: how many of 1000 waits told it, and how accept() then failed. */
static void loop(const char *key, uint32_t events)
{
	int client = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), told = 0, error = 0;
	int epoll_fd = must(epoll_create1(EPOLL_CLOEXEC));
	must(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &(struct epoll_event){.events = events}));
	use_up(true);
	must(connect(client, (struct sockaddr *)&address, sizeof address));
	probe_ready(listener, POLLIN, 1000);
	for (int i = 0; i < TURNS; i++) {
		if (must(epoll_wait(epoll_fd, &(struct epoll_event){0}, 1, 0)) == 0)
			continue;
		told++;
		error = accept4(listener, NULL, NULL, SOCK_CLOEXEC) < 0 ? errno : 0;
	}
	facts_open(key);
	fact_int("told_in_1000_waits", told);
	fact_error("accept", error);
	fact_bool("listener_ready", probe_ready(listener, POLLIN, 0));
	fact_bool("client_told", probe_ready(client, POLLIN, 0));
	use_up(false);
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	fact_bool("accepted_with_room", fd >= 0);
	facts_close();
	close(fd);
	close(client);
	close(epoll_fd);
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "",
		"A listener and a loop without descriptors left: level-triggered, edge-triggered.");
	listener = probe_listen(16, &address);
	probe_nonblock(listener, true);
	loop("level", EPOLLIN);
	loop("edge", EPOLLIN | EPOLLET);
	return probe_end();
}
