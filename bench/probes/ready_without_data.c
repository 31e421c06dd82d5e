/* ready_without_data: ready means that a call will not block, not that it will move anything.
 *
 * Cindy Sridharan ("Nonblocking I/O", 2017) says that a descriptor is ready when an operation on it would
 * not block, whether or not it would move any data.
 *
 * Blocking descriptors that poll() reports as readable although no byte came: the peer has closed, the peer has
 * reset, a listener whose connection was reset before anybody accepted it. Each is then read or accepted from;
 * the call must return and may not sleep.
 *
 * The other side of the coin: readiness is true when it is told and may be stale when it is used. Two processes
 * wait for one listener, one connection comes, poll reports it to both; one accepts, and the other's blocking
 * accept waits, although it was told. So a listener that is shared has to be nonblocking.
 *
 * Try: build/probes/ready_without_data
 * Takes about 0.2 s.
 */
#include "probe.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PATIENCE_MS = 200 };

static int fd;

static long read_one(void *unused)
{
	char byte;
	(void)unused;
	return read(fd, &byte, 1);
}

static long accept_one(void *unused)
{
	(void)unused;
	return accept(fd, NULL, NULL);
}

static void show(const char *key, long (*call)(void *))
{
	bool told = probe_ready(fd, POLLIN, PATIENCE_MS);
	struct outcome outcome = probe_call(call, NULL, PATIENCE_MS);
	facts_open(key);
	fact_bool("told_readable", told);
	fact_bool("returned", outcome.returned);
	fact_int("slept", outcome.slept);
	fact_bool("moved_data", call == read_one && outcome.value > 0);
	fact_error("error", outcome.error);
	facts_close();
}

static int connected_to(struct sockaddr_in *address)
{
	int client = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	must(connect(client, (struct sockaddr *)address, sizeof *address));
	return client;
}

/* Closing with nothing to linger for sends RST in place of FIN. */
static void reset(int peer)
{
	struct linger at_once = {.l_onoff = 1};
	must(setsockopt(peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once));
	must(close(peer));
}

static void show_shared_listener(void)
{
	struct sockaddr_in address;
	fd = probe_listen(5, &address);
	connected_to(&address);
	bool told_one = probe_ready(fd, POLLIN, PATIENCE_MS), told_other = probe_ready(fd, POLLIN, PATIENCE_MS);
	must(accept(fd, NULL, NULL));
	struct outcome second = probe_call(accept_one, NULL, PATIENCE_MS);
	facts_open("shared_listener");
	fact_bool("both_were_told", told_one && told_other);
	fact_bool("second_accept_waits", !second.returned);
	facts_close();
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "",
		"Descriptors that are reported ready and have no data: what a call on them does.");
	int pair[2];
	struct sockaddr_in address;
	facts_open("ready");
	probe_tcp_pair(pair);
	fd = pair[0];
	close(pair[1]);
	show("peer_closed", read_one);

	probe_tcp_pair(pair);
	fd = pair[0];
	reset(pair[1]);
	show("peer_reset", read_one);

	fd = probe_listen(5, &address);
	reset(connected_to(&address));
	show("connection_reset_in_the_queue", accept_one);
	facts_close();
	show_shared_listener();
	return probe_end();
}
