/* lab/epoll: one thread and epoll, with every detail that comparisons differ in as an option.
 *
 * Without any option it does what servers/epoll_lt.c does: level-triggered, one read for an event, send at
 * once, writability asked for only after EAGAIN, a wait that blocks. Each option changes one of these, so that
 * two runs differ in nothing else. docs/models.md shows what each is worth.
 *
 * Needs Linux 5.11 (epoll_pwait2).
 * Try: build/lab/epoll --trigger edge --drain-limit 0 --stop eagain
 */
#include "net.h"
#include "pause.h"
#include "server.h"

#include "clock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { EVENTS_MAX = 4096, ACCEPTS_PER_WAKEUP = 64, RETRY_NS = 100000000 };

struct client {
	struct conn conn;
	struct deadline deadline;
	LIST_ENTRY(client) all;
	TAILQ_ENTRY(client) again;
	int fd;
	uint32_t interest; /* as the kernel has it */
	size_t lent;       /* --send zerocopy: bytes of the reply that the kernel sends from where they are */
	bool readable, writable, ended, queued;
};
TAILQ_HEAD(queue, client);

static struct core core;
static struct counters counters;
static struct deadlines deadlines;
static LIST_HEAD(, client) clients;
static struct queue queue = TAILQ_HEAD_INITIALIZER(queue);
static int listen_fd, epoll_fd, stop_fd, timer_fd;
static bool accepting;
static uint64_t last_event_ns; /* for --timeout adaptive */
static uint8_t received[65536];

static struct knob knobs[] = {
	{"trigger", "ready descriptors are told in every wait, or once", .choices = "level|edge"},
	{"interest", "changed when it has to be, around every request, armed anew after every event, or never",
		.choices = "needed|toggled|oneshot|all"},
	{"write", "a reply is sent at once, or when epoll says that it can be", .choices = "first|wait"},
	{"drain-limit", "reads for an event at most; 0: until nothing is left", .value = 1, .max = 1000000},
	{"turn-limit", "reads, sends and work for a client before others have their turn; 0: all there is",
		.value = 16, .max = 1000000},
	{"stop", "reading ends with a read that is not filled, or with EAGAIN", .choices = "short|eagain"},
	{"read-size", "bytes asked for in a read", .value = 65536, .min = 1, .max = 65536},
	{"max-events", "events taken in a wait", .value = 256, .min = 1, .max = EVENTS_MAX},
	{"timeout", "a wait sleeps, returns at once, or sleeps after --spin-for without an event",
		.choices = "block|spin|adaptive"},
	{"spin-for", "how long --timeout adaptive spins", .is_time = true, .value = 50000, .max = 1000000000},
	{"descriptors", "of the clients", .choices = "nonblocking|blocking"},
	{"send",
		"copied, without waiting or waiting for room; or sent from where it is, and told when it may "
		"go",
		.choices = "copy|blocking|zerocopy"},
	{"calls", "recv and send, or read and write", .choices = "recv|read"},
	{"accept", "one call for a client, or three", .choices = "accept4|fcntl"},
	{"timers", "delays end by the wait's timeout, or by a timerfd", .choices = "heap|timerfd"},
	{"no-delay", "TCP_NODELAY", .choices = "on|off"},
	{"quick-ack", "TCP_QUICKACK, again after every read, for it does not last", .choices = "off|on"},
	{"busy-poll", "SO_BUSY_POLL, microseconds", .value = 0, .max = 1000000},
	{"receive-buffer", "SO_RCVBUF, bytes; 0: the kernel's choice", .value = 0, .max = 1 << 30},
	{"send-buffer", "SO_SNDBUF, bytes; 0: the kernel's choice", .value = 0, .max = 1 << 30},
	{0},
};
enum {
	TRIGGER,
	INTEREST,
	WRITE,
	DRAIN_LIMIT,
	TURN_LIMIT,
	STOP,
	READ_SIZE,
	MAX_EVENTS,
	TIMEOUT,
	SPIN_FOR,
	DESCRIPTORS,
	SEND,
	CALLS,
	ACCEPT,
	TIMERS,
	NO_DELAY,
	QUICK_ACK,
	BUSY_POLL,
	RECEIVE_BUFFER,
	SEND_BUFFER,
};
enum { NEEDED, TOGGLED, ONESHOT, ALL };
enum { BLOCK, SPIN, ADAPTIVE };
enum { COPY, BLOCKING, ZEROCOPY };

static void check_knobs(const struct options *options);
static void set_socket_options(void);
static int watch(int fd, void *tag);
static void watch_listener(bool on);
static const struct timespec *next_timeout(struct timespec *timeout);
static void set_timer(void);
static void handle_events(struct epoll_event *events, int n);
static void accept_clients(void);
static int accept_one(void);
static void wait_for_room(void);
static void open_client(int fd);
static void handle_client(struct client *client, uint32_t ready);
static void advance(struct client *client);
static bool receive(struct client *client);
static bool send_output(struct client *client);
static ssize_t send_span(struct client *client, struct span span);
static bool take_back(struct client *client);
static void begin_pause(struct client *client);
static void yield(struct client *client, bool turns_used_up);
static void set_interest(struct client *client);
static void resume_queued(void);
static void resume_expired(void);
static void close_client(struct client *client);

static const struct model model = {
	.name = "epoll",
	.thesis = "The epoll pages with their details as options: which of them makes the difference?",
	.needs = "Linux 5.11",
	.knobs = knobs,
};

int main(int argc, char **argv)
{
	struct options options = options_parse(&model, argc, argv);
	core = options.core;
	check_knobs(&options);
	listen_fd = server_start(&options, SOCK_NONBLOCK);
	set_socket_options();
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0)
		die("epoll_create1: %s", strerror(errno));
	watch_listener(true);
	/* A wait that returns at once never lets a signal in: here stopping is an event like any other. */
	sigset_t stops;
	sigemptyset(&stops);
	sigaddset(&stops, SIGTERM);
	sigaddset(&stops, SIGINT);
	stop_fd = watch(signalfd(-1, &stops, SFD_CLOEXEC), &stop_fd);
	if (knobs[TIMERS].value)
		timer_fd = watch(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC), &timer_fd);
	server_ready(listen_fd, &options);

	while (!server_stopping) {
		static struct epoll_event events[EVENTS_MAX];
		struct timespec timeout;
		int n = epoll_pwait2(
			epoll_fd, events, (int)knobs[MAX_EVENTS].value, next_timeout(&timeout), NULL);
		if (n < 0 && errno != EINTR)
			die("epoll_pwait2: %s", strerror(errno));
		counters.wakeups++;
		if (n > 0 && knobs[TIMEOUT].value == ADAPTIVE)
			last_event_ns = clock_now_ns();
		handle_events(events, n);
		resume_queued();
		resume_expired();
		if (knobs[TIMERS].value)
			set_timer();
	}

	while (!LIST_EMPTY(&clients))
		close_client(LIST_FIRST(&clients));
	close(listen_fd);
	close(epoll_fd);
	close(stop_fd);
	deadlines_free(&deadlines);
	core_free(&core);
	return server_report(&counters, core.requests);
}

static void check_knobs(const struct options *options)
{
	bool edge = knobs[TRIGGER].value, blocking = knobs[DESCRIPTORS].value;
	const char *name = model.name;
	if (knobs[INTEREST].value == ALL && !edge)
		options_refuse(name, "--interest all and --trigger level do not fit: "
				     "a socket is nearly always writable, and every wait would say so");
	if (knobs[INTEREST].value == TOGGLED && !knobs[WRITE].value)
		options_refuse(name, "--interest toggled and --write first do not fit: "
				     "a reply that is sent at once needs no toggling; say --write wait");
	if (knobs[INTEREST].value == ALL && knobs[WRITE].value)
		options_refuse(name, "--interest all and --write wait do not fit: "
				     "the edge was told before there was anything to write");
	if (knobs[STOP].value && knobs[DRAIN_LIMIT].value == 1 && !edge)
		options_refuse(name, "--stop eagain and --drain-limit 1 do not fit: "
				     "level-triggered, no second read follows that could say EAGAIN; say "
				     "--drain-limit 0");
	if (blocking && edge)
		options_refuse(name, "--descriptors blocking and --trigger edge do not fit: "
				     "reading until nothing is left would block");
	if (blocking && knobs[DRAIN_LIMIT].value != 1)
		options_refuse(name, "--descriptors blocking and --drain-limit other than 1 do not fit: "
				     "epoll vouches for one read only");
	if (blocking && knobs[CALLS].value)
		options_refuse(name, "--descriptors blocking and --calls read do not fit: "
				     "write has no MSG_DONTWAIT, and one slow reader would stop all");
	if (knobs[SEND].value == BLOCKING && !blocking)
		options_refuse(name, "--send blocking and --descriptors nonblocking do not fit: "
				     "such a descriptor never lets a send wait");
	if (knobs[SEND].value && knobs[CALLS].value)
		options_refuse(name, "--send other than copy and --calls read do not fit: write has no flags");
	if (knobs[SEND].value == ZEROCOPY && options->unix_path)
		options_refuse(name, "--send zerocopy and --listen do not fit: Unix sockets have none");
	if (knobs[SPIN_FOR].given && knobs[TIMEOUT].value != ADAPTIVE)
		options_refuse(name, "--spin-for needs --timeout adaptive");
	if (options->unix_path && (knobs[NO_DELAY].given || knobs[QUICK_ACK].value))
		options_refuse(name, "--no-delay and --quick-ack are TCP's, and do not fit --listen");
	if (options->unix_path &&
		(knobs[BUSY_POLL].given || knobs[RECEIVE_BUFFER].given || knobs[SEND_BUFFER].given))
		options_refuse(name, "--busy-poll, --receive-buffer and --send-buffer do not fit --listen: "
				     "a Unix socket inherits none of them from its listener");
}

/* Set on the listener, these are inherited by what it accepts. */
static void set_socket_options(void)
{
	const struct {
		bool wanted;
		int level, option, value;
		const char *name;
	} options[] = {
		{knobs[NO_DELAY].value, IPPROTO_TCP, TCP_NODELAY, 0, "TCP_NODELAY"},
		{knobs[BUSY_POLL].given, SOL_SOCKET, SO_BUSY_POLL, (int)knobs[BUSY_POLL].value, "SO_BUSY_POLL"},
		{knobs[RECEIVE_BUFFER].value, SOL_SOCKET, SO_RCVBUF, (int)knobs[RECEIVE_BUFFER].value,
			"SO_RCVBUF"},
		{knobs[SEND_BUFFER].value, SOL_SOCKET, SO_SNDBUF, (int)knobs[SEND_BUFFER].value, "SO_SNDBUF"},
	};
	for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
		if (options[i].wanted && setsockopt(listen_fd, options[i].level, options[i].option,
						 &options[i].value, sizeof options[i].value) != 0)
			cannot_run("setsockopt %s: %s", options[i].name, strerror(errno));
}

static int watch(int fd, void *tag)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = tag};
	if (fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
		die("cannot watch a descriptor of its own: %s", strerror(errno));
	return fd;
}

static void watch_listener(bool on)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
	if (epoll_ctl(epoll_fd, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, listen_fd, &event) != 0)
		die("epoll_ctl for the listener: %s", strerror(errno));
	accepting = on;
}

static const struct timespec *next_timeout(struct timespec *timeout)
{
	static const struct timespec now;
	if (!TAILQ_EMPTY(&queue) || knobs[TIMEOUT].value == SPIN)
		return &now;
	if (knobs[TIMEOUT].value == ADAPTIVE && clock_now_ns() - last_event_ns < knobs[SPIN_FOR].value)
		return &now;
	return knobs[TIMERS].value ? NULL : pause_timeout(&deadlines, timeout);
}

/* A system call for every change of the earliest deadline, where the wait's own timeout costs none. */
static void set_timer(void)
{
	static uint64_t set_ns;
	struct timespec next = {0};
	deadline_wait(&deadlines, 0, &next); /* counted from zero, what is left is the time itself */
	uint64_t next_ns = (uint64_t)next.tv_sec * 1000000000 + (uint64_t)next.tv_nsec;
	if (next_ns == set_ns)
		return;
	struct itimerspec until = {.it_value = next};
	if (timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &until, NULL) != 0)
		die("timerfd_settime: %s", strerror(errno));
	set_ns = next_ns;
}

static void handle_events(struct epoll_event *events, int n)
{
	uint64_t expirations;
	for (int i = 0; i < n; i++) {
		counters.events++;
		if (events[i].data.ptr == &stop_fd)
			server_stopping = 1;
		else if (events[i].data.ptr == &timer_fd)
			counters.eagain += read(timer_fd, &expirations, sizeof expirations) < 0;
		else if (events[i].data.ptr)
			handle_client(events[i].data.ptr, events[i].events);
		else
			accept_clients();
	}
}

static void accept_clients(void)
{
	for (int i = 0; i < ACCEPTS_PER_WAKEUP; i++) {
		int fd = accept_one();
		if (fd == NET_AGAIN)
			return;
		if (fd == NET_FAILED)
			die("accept: %s", strerror(errno));
		if (fd == NET_FULL) {
			count_error(&counters);
			wait_for_room();
			return;
		}
		open_client(fd);
	}
}

static int accept_one(void)
{
	bool nonblocking = !knobs[DESCRIPTORS].value;
	if (!knobs[ACCEPT].value)
		return net_accept(listen_fd, SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0));
	int fd = accept(listen_fd, NULL, NULL);
	if (fd < 0)
		return net_accept_failure(errno);
	if ((nonblocking && fcntl(fd, F_SETFL, O_NONBLOCK) != 0) || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
		die("fcntl: %s", strerror(errno));
	return fd;
}

static void wait_for_room(void)
{
	if (counters.open > 0)
		watch_listener(false);
	else
		pause_here((struct pause){.kind = PAUSE_SLEEP, .amount = RETRY_NS});
}

/* What every interest of a client contains. */
static uint32_t flags(void)
{
	return (knobs[TRIGGER].value ? EPOLLET | EPOLLRDHUP : 0) |
	       (knobs[INTEREST].value == ONESHOT ? EPOLLONESHOT : 0);
}

static void open_client(int fd)
{
	struct client *client = calloc(1, sizeof *client);
	uint32_t interest = EPOLLIN | flags() | (knobs[INTEREST].value == ALL ? EPOLLOUT : 0);
	struct epoll_event event = {.events = interest, .data.ptr = client};
	if (!client || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
		die("no memory to watch another client: %s", strerror(errno));
	if (knobs[SEND].value == ZEROCOPY &&
		setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &(int){1}, sizeof(int)) != 0)
		die("setsockopt SO_ZEROCOPY: %s", strerror(errno));
	client->fd = fd;
	client->interest = interest;
	client->writable = !knobs[WRITE].value;
	conn_open(&client->conn, &core);
	LIST_INSERT_HEAD(&clients, client, all);
	count_open(&counters);
}

static void handle_client(struct client *client, uint32_t ready)
{
	if (ready & EPOLLERR && client->lent && take_back(client))
		ready &= ~(uint32_t)EPOLLERR; /* which it was told by; a real one is told again */
	unsigned wants = conn_wants(&client->conn);
	if (ready & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		client->readable = true;
	if (ready & (EPOLLOUT | EPOLLHUP | EPOLLERR) && !client->lent)
		client->writable = true;
	if (ready & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		client->ended = true;
	if (knobs[INTEREST].value == ONESHOT)
		client->interest = 0; /* the kernel has disarmed it */
	if (ready & (EPOLLHUP | EPOLLERR) && !(wants & (CONN_RECV | CONN_SEND)))
		close_client(client);
	else
		advance(client);
}

/* Does what the connection wants until it has to wait. Level-triggered, what is left is told again; edge-
 * triggered, it waits in the queue. */
static void advance(struct client *client)
{
	unsigned long reads = 0, limit = knobs[DRAIN_LIMIT].value;
	unsigned long turn = 0, turns = knobs[TURN_LIMIT].value;
	for (; turns == 0 || turn < turns; turn++) {
		unsigned wants = conn_wants(&client->conn);
		if (wants & CONN_SEND && client->writable) {
			if (!send_output(client))
				return;
		} else if (wants & CONN_RECV && client->readable && (limit == 0 || reads < limit)) {
			if (!receive(client))
				return;
			reads++;
		} else if (wants & CONN_PAUSE && !deadline_is_set(&client->deadline)) {
			begin_pause(client);
		} else if (wants & CONN_SHUT) {
			shutdown(client->fd, SHUT_WR);
			conn_did(&client->conn, CONN_SHUT);
		} else if (wants & CONN_CLOSE) {
			close_client(client);
			return;
		} else {
			break;
		}
	}
	yield(client, turns > 0 && turn == turns);
}

/* False: the client is gone. */
static bool receive(struct client *client)
{
	size_t room = conn_room(&client->conn), most = knobs[READ_SIZE].value, size = room < most ? room : most;
	ssize_t n;
	if (knobs[CALLS].value) {
		n = read(client->fd, received, size);
		if (n < 0)
			n = errno == EAGAIN || errno == EINTR ? NET_AGAIN : NET_FAILED;
	} else {
		n = net_recv(client->fd, received, size);
	}
	if (n == NET_FAILED) {
		count_error(&counters);
		close_client(client);
		return false;
	}
	if (knobs[QUICK_ACK].value)
		setsockopt(client->fd, IPPROTO_TCP, TCP_QUICKACK, &(int){1}, sizeof(int));
	if (n == NET_AGAIN) {
		counters.eagain++;
		client->readable = false;
	} else if (n == 0) {
		conn_eof(&client->conn);
	} else {
		conn_feed(&client->conn, received, (size_t)n);
		client->readable = knobs[STOP].value || (size_t)n == size || client->ended;
	}
	return true;
}

/* False: the client is gone. */
static bool send_output(struct client *client)
{
	struct span output = conn_output(&client->conn);
	ssize_t n = send_span(client, output);
	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		count_error(&counters);
		close_client(client);
		return false;
	}
	counters.eagain += n < 0;
	client->writable = n == (ssize_t)output.len && !knobs[WRITE].value && !client->lent;
	if (n > 0 && !client->lent)
		conn_sent(&client->conn, (size_t)n);
	else if (client->lent)
		take_back(client); /* over loopback it is told at once */
	return true;
}

/* Where too much is lent already (ENOBUFS), copying is what is left. */
static ssize_t send_span(struct client *client, struct span span)
{
	if (knobs[CALLS].value)
		return write(client->fd, span.data, span.len);
	int wait = knobs[SEND].value == BLOCKING ? 0 : MSG_DONTWAIT;
	if (knobs[SEND].value == ZEROCOPY) {
		ssize_t n = send(client->fd, span.data, span.len, MSG_NOSIGNAL | MSG_DONTWAIT | MSG_ZEROCOPY);
		client->lent = n > 0 ? (size_t)n : 0;
		if (n >= 0 || errno != ENOBUFS)
			return n;
	}
	return send(client->fd, span.data, span.len, MSG_NOSIGNAL | wait);
}

/* The kernel says through the socket's error queue that it needs the bytes no more. One send is lent at a time,
 * so this is the one that is meant. */
static bool take_back(struct client *client)
{
	uint8_t control[CMSG_SPACE(sizeof(struct sock_extended_err) + sizeof(struct sockaddr_in6))];
	struct msghdr message = {.msg_control = control, .msg_controllen = sizeof control};
	if (recvmsg(client->fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
		return false;
	conn_sent(&client->conn, client->lent);
	client->lent = 0;
	client->writable = !knobs[WRITE].value;
	return true;
}

static void begin_pause(struct client *client)
{
	struct pause pause = conn_pause(&client->conn);
	if (pause.kind == PAUSE_DELAY) {
		pause_begin(&deadlines, &client->deadline, pause);
		return;
	}
	pause_here(pause);
	conn_did(&client->conn, CONN_PAUSE);
}

static void yield(struct client *client, bool turns_used_up)
{
	unsigned wants = conn_wants(&client->conn);
	bool goes_on = turns_used_up || (wants & CONN_RECV && client->readable);
	if (!knobs[TRIGGER].value) {
		client->readable = false; /* level-triggered: the next wait knows better */
		goes_on = turns_used_up;
	}
	if (goes_on && !client->queued) {
		TAILQ_INSERT_TAIL(&queue, client, again);
		client->queued = true;
	}
	set_interest(client);
}

static void set_interest(struct client *client)
{
	if (knobs[INTEREST].value == ALL)
		return;
	unsigned wants = conn_wants(&client->conn);
	uint32_t interest = flags();
	if (wants & CONN_SEND && !client->writable && !client->lent)
		interest |= EPOLLOUT;
	if (wants & CONN_RECV && !(knobs[INTEREST].value == TOGGLED && interest & EPOLLOUT))
		interest |= EPOLLIN;
	bool rearm = knobs[WRITE].value && knobs[TRIGGER].value && interest & EPOLLOUT;
	if (interest == client->interest && !rearm) /* a socket that is never full has no other edge */
		return;
	struct epoll_event event = {.events = interest, .data.ptr = client};
	if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, client->fd, &event) != 0)
		die("epoll_ctl: %s", strerror(errno));
	client->interest = interest;
}

static void resume_queued(void)
{
	struct queue round = TAILQ_HEAD_INITIALIZER(round);
	TAILQ_CONCAT(&round, &queue, again);
	struct client *client;
	while ((client = TAILQ_FIRST(&round))) {
		TAILQ_REMOVE(&round, client, again);
		client->queued = false;
		advance(client);
	}
}

static void resume_expired(void)
{
	struct deadline *deadline;
	while ((deadline = pause_expired(&deadlines))) {
		struct client *client = (struct client *)((char *)deadline - offsetof(struct client, deadline));
		conn_did(&client->conn, CONN_PAUSE);
		advance(client);
	}
}

static void close_client(struct client *client)
{
	deadline_clear(&deadlines, &client->deadline);
	if (client->lent) /* what has not left must not leave with what these bytes will be then */
		setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1},
			sizeof(struct linger));
	close(client->fd);
	conn_drop(&client->conn);
	LIST_REMOVE(client, all);
	if (client->queued)
		TAILQ_REMOVE(&queue, client, again);
	free(client);
	count_close(&counters);
	if (!accepting)
		watch_listener(true);
}
