/* sockmap: echo inside the kernel. The process hears of connections, never of bytes.
 *
 * A socket that is put into a BPF map of sockets has its arriving bytes shown to a BPF program, which returns
 * where they go: here, back out of the socket they came from (servers/bpf/sockmap.c, a page of its own). A
 * worker thread of the kernel sends them. So a request makes no system call, wakes no process and copies
 * nothing to user space; what is left for this page is to let clients in and to see them out. The price is that
 * nobody who could think is on the way: no protocol but echo, and nothing that holds a sender back. TCP takes
 * the bytes as read when the program has seen them, so the window stays open to a peer that never reads, and
 * what is owed to it grows in the kernel's memory.
 *
 * The ends of a connection need care. Bytes that came before the socket was in the map have been shown to
 * nobody: setting SO_RCVLOWAT has the queue looked at again. A peer that has sent its FIN by then is not taken,
 * and answered from here. And at a later FIN the worker may still owe bytes, which a close would throw away:
 * TCP_INFO counts what came and what went, and until the two agree the client is kept.
 *
 * Per request, one connection at a time: none.
 * Needs Linux 5.10 (a verdict program without a parser) with CONFIG_BPF_STREAM_PARSER, epoll_pwait2 (5.11), and
 * root (CAP_BPF and CAP_NET_ADMIN); clang to build it. Unix sockets are not echoed: no --listen.
 * pkg-config: libbpf
 * Try: sudo build/servers/sockmap --port 7000, then nc 127.0.0.1 7000
 */
#include "clock.h"
#include "net.h"
#include "pause.h"
#include "server.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/tcp.h> /* the C library's tcp_info ends before the counts of bytes */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	EVENTS_PER_WAIT = 256,
	ACCEPTS_PER_WAKEUP = 64, /* a crowd at the door must not starve those who leave */
	MOST_SOCKETS = 1 << 20,  /* the map's memory is taken at once: 16 bytes for each */
	RETRY_NS = 100000000,
	LOOK_AGAIN_NS = 2000000,
};

struct client {
	LIST_ENTRY(client) all;
	LIST_ENTRY(client) others_leaving;
	int fd;
	bool leaving; /* the peer's FIN has come */
};

static _Alignas(8) const uint8_t program[] = {
#include "sockmap.bpf.inc" /* servers/bpf/sockmap.c, compiled */
};

static struct counters counters;
static LIST_HEAD(, client) clients, leaving;
static struct bpf_object *object;
static int listen_fd, epoll_fd, sockets_fd;
static bool accepting;

static void load_program(void);
static const struct timespec *next_timeout(struct timespec *timeout);
static void watch_listener(bool on);
static void handle_events(struct epoll_event *events, int n);
static void accept_clients(void);
static void wait_for_room(void);
static void open_client(int fd);
static bool into_map(int fd);
static void answer_here(int fd);
static void handle_client(struct client *client, uint32_t ready);
static void close_those_done(void);
static bool owes(const struct client *client);
static void close_client(struct client *client);
static uint64_t pieces(void);

static const struct model model = {
	.name = "sockmap",
	.thesis = "Echo inside the kernel: a BPF program sends what arrives back out; no process is woken for "
		  "it.",
	.needs = "Linux 5.11 with BPF, root",
	.protocols = 1U << PROTOCOL_ECHO,
	.tcp_only = true,
	.exceptions = {"unbounded"},
};

int main(int argc, char **argv)
{
	struct options options = options_parse(&model, argc, argv);
	listen_fd = server_start(&options, SOCK_NONBLOCK);
	load_program();
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0)
		die("epoll_create1: %s", strerror(errno));
	watch_listener(true);
	server_ready(listen_fd, &options);

	while (!server_stopping) {
		struct epoll_event events[EVENTS_PER_WAIT];
		struct timespec timeout;
		int n = epoll_pwait2(
			epoll_fd, events, EVENTS_PER_WAIT, next_timeout(&timeout), &server_wait_mask);
		if (n < 0 && errno != EINTR)
			die("epoll_pwait2: %s", strerror(errno));
		counters.wakeups++;
		handle_events(events, n);
		close_those_done();
	}

	while (!LIST_EMPTY(&clients))
		close_client(LIST_FIRST(&clients));
	close(listen_fd);
	close(epoll_fd);
	uint64_t requests = pieces();
	bpf_object__close(object);
	return server_report(&counters, requests);
}

static void load_program(void)
{
	struct rlimit files;
	libbpf_set_print(NULL); /* what goes wrong is said here, in one line */
	object = bpf_object__open_mem(program, sizeof program, NULL);
	if (!object || getrlimit(RLIMIT_NOFILE, &files) != 0)
		die("the BPF program cannot be opened: %s", strerror(errno));
	struct bpf_map *sockets = bpf_object__find_map_by_name(object, "sockets");
	rlim_t most = files.rlim_cur < MOST_SOCKETS ? files.rlim_cur : MOST_SOCKETS;
	bpf_map__set_max_entries(sockets, (uint32_t)most);
	int error = -bpf_object__load(object);
	if (error == EPERM || error == EACCES)
		cannot_run("bpf: %s; it needs root (CAP_BPF, CAP_NET_ADMIN) and a sandbox that allows bpf(2)",
			strerror(error));
	if (error)
		cannot_run("bpf: %s; it needs Linux 5.11 with CONFIG_BPF_SYSCALL and CONFIG_BPF_STREAM_PARSER",
			strerror(error));
	sockets_fd = bpf_map__fd(sockets);
	int program_fd = bpf_program__fd(bpf_object__find_program_by_name(object, "echo"));
	if (bpf_prog_attach(program_fd, sockets_fd, BPF_SK_SKB_STREAM_VERDICT, 0) != 0)
		cannot_run("bpf: attaching to a map of sockets: %s; it needs Linux 5.11", strerror(errno));
}

/* Nothing tells when the kernel's worker has sent the last byte owed to a client that has said its last. */
static const struct timespec *next_timeout(struct timespec *timeout)
{
	*timeout = clock_timespec(LOOK_AGAIN_NS);
	return LIST_EMPTY(&leaving) ? NULL : timeout;
}

/* Without descriptors left, an accept fails while the listener stays ready: a watched listener would spin. */
static void watch_listener(bool on)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
	if (epoll_ctl(epoll_fd, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, listen_fd, &event) != 0)
		die("epoll_ctl for the listener: %s", strerror(errno));
	accepting = on;
}

/* A wait reports a descriptor once, and a client is closed only on its own event: none that follows can be
 * stale. */
static void handle_events(struct epoll_event *events, int n)
{
	for (int i = 0; i < n; i++) {
		counters.events++;
		if (events[i].data.ptr)
			handle_client(events[i].data.ptr, events[i].events);
		else
			accept_clients();
	}
}

static void accept_clients(void)
{
	for (int i = 0; i < ACCEPTS_PER_WAKEUP; i++) {
		int fd = net_accept(listen_fd, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd == NET_AGAIN)
			return;
		if (fd == NET_FAILED)
			die("accept4: %s", strerror(errno));
		if (fd == NET_FULL) {
			count_error(&counters);
			wait_for_room();
			return;
		}
		open_client(fd);
	}
}

/* A client of ours that closes makes room. Without any, others hold what is missing, and a short sleep keeps
 * nobody waiting. */
static void wait_for_room(void)
{
	if (counters.open > 0)
		watch_listener(false);
	else
		pause_here((struct pause){.kind = PAUSE_SLEEP, .amount = RETRY_NS});
}

/* Edge-triggered, because a FIN that is kept waiting would be reported by every wait. */
static void open_client(int fd)
{
	struct client *client = calloc(1, sizeof *client);
	struct epoll_event event = {.events = EPOLLRDHUP | EPOLLET, .data.ptr = client};
	if (!client || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
		die("no memory to watch another client: %s", strerror(errno));
	client->fd = fd;
	LIST_INSERT_HEAD(&clients, client, all);
	count_open(&counters);
	if (into_map(fd))
		return;
	if (errno == EOPNOTSUPP)
		answer_here(fd);
	else
		count_error(&counters);
	close_client(client);
}

/* False with EOPNOTSUPP where the peer's FIN or reset was faster: only an established connection is taken. */
static bool into_map(int fd)
{
	uint64_t cookie, value = (uint64_t)fd;
	socklen_t size = sizeof cookie;
	int one = 1;
	return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) == 0 &&
	       bpf_map_update_elem(sockets_fd, &cookie, &value, BPF_NOEXIST) == 0 &&
	       setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof one) == 0;
}

/* A peer that has said its last before it was let in: what it said is all here, and what its socket takes at
 * once is the answer. */
static void answer_here(int fd)
{
	uint8_t bytes[16384];
	ssize_t n;
	while ((n = net_recv(fd, bytes, sizeof bytes)) > 0 &&
		net_send(fd, (struct span){bytes, (size_t)n}) == n)
		;
	if (n == NET_FAILED)
		count_error(&counters);
}

/* EPIPE is no failure: the worker sets it when it comes to the FIN. */
static void handle_client(struct client *client, uint32_t ready)
{
	int error = 0;
	socklen_t size = sizeof error;
	if (ready & EPOLLERR)
		getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &size);
	if (error && error != EPIPE) {
		errno = error;
		count_error(&counters);
		close_client(client);
	} else if (!client->leaving && ready & (EPOLLRDHUP | EPOLLHUP)) {
		client->leaving = true;
		LIST_INSERT_HEAD(&leaving, client, others_leaving);
	}
}

static void close_those_done(void)
{
	struct client *next;
	for (struct client *client = LIST_FIRST(&leaving); client; client = next) {
		next = LIST_NEXT(client, others_leaving);
		if (!owes(client))
			close_client(client);
	}
}

/* Bytes in and not yet out. The FIN counts as one that came; what was sent twice counts twice. */
static bool owes(const struct client *client)
{
	struct tcp_info info = {0};
	socklen_t size = sizeof info;
	if (getsockopt(client->fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0 ||
		info.tcpi_state == BPF_TCP_CLOSE)
		return false;
	uint64_t out = info.tcpi_bytes_sent - info.tcpi_bytes_retrans + info.tcpi_notsent_bytes;
	return info.tcpi_bytes_received - 1 > out;
}

static void close_client(struct client *client)
{
	close(client->fd); /* which also takes it out of epoll's set and the map */
	LIST_REMOVE(client, all);
	if (client->leaving)
		LIST_REMOVE(client, others_leaving);
	free(client);
	count_close(&counters);
	if (!accepting)
		watch_listener(true);
}

/* An echo's requests are the pieces in which it arrives. */
static uint64_t pieces(void)
{
	uint32_t first = 0;
	uint64_t count = 0;
	bpf_map_lookup_elem(bpf_object__find_map_fd_by_name(object, "pieces"), &first, &count);
	return count;
}
