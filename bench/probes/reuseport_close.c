/* reuseport_close: what becomes of those who wait when one of several listeners closes?
 *
 * With SO_REUSEPORT a connection belongs to one listener from its first packet on: it waits in that one's
 * queue. When a worker ends, and its listener with it, those in its queue are reset, although their handshake
 * was complete and other listeners of the same port are open. A listener that is shared, by fork() or dup(),
 * has one queue: closing one copy loses nobody. (Linux 5.14 can move them on, if the sysctl
 * net.ipv4.tcp_migrate_req says so; it does not by default.) The page has forty clients connect, closes one of
 * two, and counts who is served.
 */
#include "probe.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CLIENTS = 40, BACKLOG = 128 };

static struct sockaddr_in address;
static int clients[CLIENTS];

/* Each is in a queue when connect() is back, or is on its last step into it. */
static void connect_all(void)
{
	for (int i = 0; i < CLIENTS; i++) {
		clients[i] = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
		must(connect(clients[i], (struct sockaddr *)&address, sizeof address));
	}
	probe_sleep_ms(20);
}

static void serve(int listener)
{
	int fd;
	while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		probe_write(fd, 1);
		close(fd);
	}
	if (errno != EAGAIN)
		probe_fail("accept4: errno %d", errno);
}

static void tell(const char *key)
{
	int served = 0, reset = 0;
	char byte;
	for (int i = 0; i < CLIENTS; i++) {
		ssize_t n = probe_ready(clients[i], POLLIN, 200) ? read(clients[i], &byte, 1) : 0;
		served += n == 1;
		reset += n < 0 && errno == ECONNRESET;
		close(clients[i]);
	}
	facts_open(key);
	fact_int("clients", CLIENTS);
	fact_int("served", served);
	fact_int("reset", reset);
	facts_close();
}

static void close_one_of(const char *key, int first, int second)
{
	connect_all();
	close(first);
	serve(second);
	tell(key);
	close(second);
}

static long migrates(void)
{
	long value = 0;
	FILE *file = fopen("/proc/sys/net/ipv4/tcp_migrate_req", "re");
	if (file && fscanf(file, "%ld", &value) != 1)
		value = 0;
	if (file)
		fclose(file);
	return value;
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "",
		"Who is lost when one of two listeners closes: two of SO_REUSEPORT, two copies of one.");
	address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	if (migrates())
		probe_skip("net.ipv4.tcp_migrate_req is on here, and moves them to another listener");
	int first = probe_listen_beside(BACKLOG, &address);
	close_one_of("reuseport", first, probe_listen_beside(BACKLOG, &address));
	address.sin_port = 0;
	first = probe_listen_beside(BACKLOG, &address);
	close_one_of("copies", first, must(dup(first)));
	return probe_end();
}
