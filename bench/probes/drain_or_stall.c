/* drain_or_stall: why everything must be read when an edge is told.
 *
 * Cindy Sridharan ("Nonblocking I/O", 2017) says that at an edge a process should do all the I/O it can,
 * until a call says EAGAIN.
 *
 * A client sends a request of half, one, two and eight times the server's buffer, and the next only after the
 * answer to the last. The server answers when it has read the whole request. Four policies for an event:
 *   edge_drain         EPOLLET, read until EAGAIN
 *   edge_short_read    EPOLLET, read until a read brings less than was asked for: epoll(7) allows that for
 * streams edge_single_read   EPOLLET, one read level_single_read  one read, and the next wait tells of the rest
 * A wait of PATIENCE_MS without an event, while the client waits for its answer, is a stall: nobody will ever
 * move again.
 *
 * Try: build/probes/drain_or_stall
 */
#include "probe.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	BUFFER = 4096,
	REQUESTS = 20,
	PATIENCE_MS = 50,
};

struct policy {
	const char *name;
	uint32_t trigger;
	bool until_short, until_eagain;
};

struct served {
	int requests, events, reads, eagain;
	bool stalled;
};

/* What an event brings, by this policy. */
static size_t take(const struct policy *policy, int fd, struct served *served)
{
	char buffer[BUFFER];
	size_t total = 0;
	for (;;) {
		ssize_t n = read(fd, buffer, sizeof buffer);
		served->reads++;
		if (n < 0 && errno == EAGAIN) {
			served->eagain++;
			return total;
		}
		total += (size_t)must(n);
		if (policy->until_eagain || (policy->until_short && n == sizeof buffer))
			continue;
		return total;
	}
}

static struct served serve(const struct policy *policy, size_t request_bytes)
{
	struct served served = {0};
	char answer;
	int pair[2], epoll_fd = must(epoll_create1(EPOLL_CLOEXEC));
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair));
	struct epoll_event event, interest = {.events = EPOLLIN | policy->trigger};
	must(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, pair[1], &interest));
	while (!served.stalled && served.requests < REQUESTS) {
		probe_write(pair[0], request_bytes);
		for (size_t had = 0; had < request_bytes && !served.stalled;) {
			if (must(epoll_wait(epoll_fd, &event, 1, PATIENCE_MS)) == 1) {
				served.events++;
				had += take(policy, pair[1], &served);
			} else {
				served.stalled = true;
			}
		}
		if (served.stalled)
			break;
		must(write(pair[1], "", 1));
		must(read(pair[0], &answer, 1));
		served.requests++;
	}
	close(epoll_fd);
	close(pair[0]);
	close(pair[1]);
	return served;
}

static void show(const char *key, const struct policy *policy, size_t request_bytes)
{
	struct served served = serve(policy, request_bytes);
	facts_open(key);
	fact_bool("stalls", served.stalled);
	fact_int("requests", served.requests);
	fact_int("events", served.events);
	fact_int("reads", served.reads);
	fact_int("eagain", served.eagain);
	fact_real("eagain_per_event", (double)served.eagain / served.events);
	facts_close();
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "", "Requests larger than the buffer under four ways of reading at an event.");
	static const struct policy policies[] = {
		{.name = "edge_drain", .trigger = EPOLLET, .until_eagain = true},
		{.name = "edge_short_read", .trigger = EPOLLET, .until_short = true},
		{.name = "edge_single_read", .trigger = EPOLLET},
		{.name = "level_single_read"},
	};
	fact_int("buffer_bytes", BUFFER);
	fact_int("requests", REQUESTS);
	for (int i = 0; i < 4; i++) {
		facts_open(policies[i].name);
		show("half", &policies[i], BUFFER / 2);
		show("once", &policies[i], BUFFER);
		show("twice", &policies[i], 2 * BUFFER);
		show("eight_times", &policies[i], 8 * BUFFER);
		facts_close();
	}
	return probe_end();
}
