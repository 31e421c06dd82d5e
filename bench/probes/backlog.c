/* backlog: what becomes of connections when the queue of the listener is full.
 *
 * "How Does Async / Non-Blocking IO Actually Work?" (2025) says that connections wait in a queue, and that
 * those beyond its end are dropped.
 *
 * listen(fd, B), a server that accepts nothing, and B + 6 clients that connect. The kernel queues B + 1 of
 * them, since it refuses only when the queue's length exceeds B, and ignores the SYN of the others, counted as
 * ListenOverflows. An ignored SYN is sent again by its sender after a second (listen(2): the request may be
 * ignored so that a later reattempt succeeds). Servers with three lengths of queue begin to accept after
 * DRAIN_MS, and `late_ms` tells when the rest got through. A fourth never accepts: when do its ignored clients
 * repeat themselves? A fifth has a kernel that was told to refuse where the queue is full
 * (tcp_abort_on_overflow).
 *
 * All this happens in a network namespace of the probe's own where it can make one, so that the counter is its
 * own.
 *
 * Try: build/probes/backlog
 * Takes about 3 s.
 */
#include "probe.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	EXCESS = 6, /* clients more than B */
	MOST = 10 + EXCESS,
	SETTLE_MS = 50, /* over loopback a connection is there with the call that asks for it */
	DRAIN_MS = 300,
	LOOK_EVERY_MS = 5,
	END_MS = 3600, /* the third repetition is over, and five seconds are not */
	REPETITIONS = 3,
};

struct client {
	int fd, error;
	double asked_ms, connected_ms; /* negative: not yet */
	bool at_once;
};

struct server {
	int backlog, listen_fd, at_once;
	long overflows;
	struct client clients[MOST];
};

static uint64_t start;

static double now_ms(void)
{
	return probe_us_since(start) / 1e3;
}

/* Alone, with a loopback device that is up; false: it stays in the host's, where others count too. */
static bool own_namespace(void)
{
	struct ifreq loopback = {.ifr_name = "lo"};
	if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
		return false;
	int fd = must(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
	must(ioctl(fd, SIOCGIFFLAGS, &loopback));
	loopback.ifr_flags |= IFF_UP;
	must(ioctl(fd, SIOCSIFFLAGS, &loopback));
	close(fd);
	return true;
}

/* /proc/net/netstat has a line of names and below it a line of numbers. */
static long listen_overflows(void)
{
	char names[4096], numbers[4096], *name_at, *number_at;
	FILE *netstat = fopen("/proc/net/netstat", "re");
	long value = -1;
	if (netstat && fgets(names, sizeof names, netstat) && fgets(numbers, sizeof numbers, netstat)) {
		char *name = strtok_r(names, " ", &name_at), *number = strtok_r(numbers, " ", &number_at);
		while (name && number && value < 0) {
			if (strcmp(name, "ListenOverflows") == 0)
				sscanf(number, "%ld", &value);
			name = strtok_r(NULL, " ", &name_at);
			number = strtok_r(NULL, " ", &number_at);
		}
	}
	if (netstat)
		fclose(netstat);
	return value;
}

static void look_at(struct client *client)
{
	socklen_t length = sizeof client->error;
	if (client->connected_ms >= 0 || client->error || !probe_ready(client->fd, POLLOUT, 0))
		return;
	must(getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &client->error, &length));
	if (!client->error)
		client->connected_ms = now_ms();
}

static void crowd(struct server *server, int backlog)
{
	struct sockaddr_in address;
	server->backlog = backlog;
	server->listen_fd = probe_listen(backlog, &address);
	probe_nonblock(server->listen_fd, true);
	server->overflows = -listen_overflows();
	for (struct client *client = server->clients; client < server->clients + backlog + EXCESS; client++) {
		*client = (struct client){.asked_ms = now_ms(), .connected_ms = -1};
		client->fd = must(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
		if (connect(client->fd, (struct sockaddr *)&address, sizeof address) != 0 &&
			errno != EINPROGRESS)
			client->error = errno;
	}
	probe_sleep_ms(SETTLE_MS);
	server->overflows += listen_overflows();
	for (int i = 0; i < backlog + EXCESS; i++) {
		struct client *client = &server->clients[i];
		look_at(client);
		client->at_once = client->connected_ms >= 0;
		server->at_once += client->at_once;
	}
}

static void accept_all(int listen_fd)
{
	while (accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC) >= 0)
		continue; /* and holds them until the end */
	if (errno != EAGAIN)
		probe_must("accept4");
}

static unsigned repetitions_of(int fd)
{
	struct tcp_info info = {0};
	socklen_t length = sizeof info;
	must(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length));
	return info.tcpi_total_retrans;
}

static void show_queue(const struct server *server, bool drained)
{
	int clients = server->backlog + EXCESS, late = 0, failed = 0;
	char name[16];
	snprintf(name, sizeof name, "%d", server->backlog);
	facts_open(drained ? name : "never_accepted");
	fact_int("backlog", server->backlog);
	fact_int("clients", clients);
	fact_int("connected_at_once", server->at_once);
	fact_int("at_once_beyond_backlog", server->at_once - server->backlog);
	fact_int("overflows", server->overflows);
	facts_list("late_ms");
	for (int i = 0; i < clients; i++) {
		const struct client *client = &server->clients[i];
		failed += client->error != 0;
		if (client->at_once || client->connected_ms < 0)
			continue;
		late++;
		fact_real(NULL, client->connected_ms - client->asked_ms);
	}
	facts_close();
	fact_int("late", late);
	fact_int("failed", failed);
	if (drained)
		facts_close();
}

static void show_refusal(bool own)
{
	struct server server = {0};
	FILE *knob = own ? fopen("/proc/sys/net/ipv4/tcp_abort_on_overflow", "we") : NULL;
	bool set = knob && fputs("1", knob) >= 0;
	if (knob && fclose(knob) != 0)
		set = false;
	facts_open("abort_on_overflow");
	fact_bool("could_be_set", set);
	if (set) {
		int refused = 0;
		crowd(&server, 1);
		for (int i = 0; i < 1 + EXCESS; i++)
			refused += server.clients[i].error != 0;
		fact_int("connected_at_once", server.at_once);
		fact_int("refused", refused);
	}
	facts_close();
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "",
		"Connections beyond a listener's queue: how many, counted how, and when they get through.");
	static const int backlogs[] = {1, 5, 10};
	static struct server drained[3], never;
	double repeated_ms[REPETITIONS];
	unsigned seen = 0;
	bool own = own_namespace();
	if (listen_overflows() < 0)
		probe_skip("/proc/net/netstat has no ListenOverflows");
	start = clock_now_ns();
	crowd(&never, 5);
	for (int i = 0; i < 3; i++)
		crowd(&drained[i], backlogs[i]);
	int ignored = never.clients[5 + EXCESS - 1].fd; /* the last to come */

	while (now_ms() < END_MS && seen < REPETITIONS) {
		for (int i = 0; i < 3; i++) {
			if (now_ms() >= DRAIN_MS)
				accept_all(drained[i].listen_fd);
			for (int k = 0; k < drained[i].backlog + EXCESS; k++)
				look_at(&drained[i].clients[k]);
		}
		if (repetitions_of(ignored) > seen)
			repeated_ms[seen++] = now_ms() - never.clients[5 + EXCESS - 1].asked_ms;
		probe_sleep_ms(LOOK_EVERY_MS);
	}
	fact_bool("own_namespace", own);
	facts_open("queues");
	for (int i = 0; i < 3; i++)
		show_queue(&drained[i], true);
	facts_close();
	show_queue(&never, false);
	facts_list("repeated_ms");
	for (unsigned i = 0; i < seen; i++)
		fact_real(NULL, repeated_ms[i]);
	facts_close();
	facts_close();
	show_refusal(own);
	return probe_end();
}
