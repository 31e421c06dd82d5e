/* fork_per_conn: a process for each connection.
 *
 * The parent accepts; every client gets a child of its own, which serves it as blocking.c serves its only one
 * and ends with it. Nothing is shared that is not shared on purpose: a child that crashes takes one client
 * along, and may become another user before it reads the first byte. That is why inetd and the first web
 * servers were built so.
 *
 * The price is paid per connection: the kernel copies the table of pages, then each page that either side
 * writes to, and takes it all apart again when the child ends. What an idle client costs is a process: some
 * dozens of pages of its own, their page tables, a task with its kernel stack, a table of descriptors.
 *
 * The parent waits for the door and for the death of its children at once. SIGCHLD stays blocked but while it
 * waits, so that none can end between the look and the wait; each is reaped, none stays a zombie. What a child
 * counts lies in memory shared with its parent, and is there however it ended. A connection counts as open
 * until its child is reaped.
 *
 * While a send waits nothing is read: a client that sends on and never reads stops its own echo, nobody else's.
 *
 * Per request, one connection at a time: recv, send. What a connection costs besides are, in the parent, ppoll,
 * accept4, clone, close and wait4; in the child prctl, sigaction, sigprocmask, close and exit_group.
 * Per idle connection: a process.
 * A return from ppoll or recv counts as a wake-up that brings one event.
 * Needs Linux, for the signal that ends a child whose parent has died (PR_SET_PDEATHSIG).
 * Try: build/servers/fork_per_conn --protocol greet --delay 2s --port 8080, then nc 127.0.0.1 8080 twice
 */
#include "net.h"
#include "pause.h"
#include "server.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	MOST_CHILDREN = 65536, /* room for them is reserved at the start, and touched only when used */
	RETRY_NS = 100000000,
};

struct child { /* what a child counts, in memory shared with the parent */
	_Alignas(64) struct core core;
	struct counters counters;
};

static struct options options;
static struct counters counters;
static uint64_t requests; /* of children that have ended */
static struct child *children;
static pid_t pids[MOST_CHILDREN]; /* of the child in the same place; 0: the place is free */
static size_t places;             /* all beyond are free */
static bool well = true;          /* no child has failed */
static struct child *self;        /* in a child: its own part of that memory */
static int listen_fd;
static volatile sig_atomic_t client_fd = -1;
static uint8_t received[65536];

static void prepare(void);
static void wait_for(struct pollfd *listener, const struct timespec *timeout);
static void accept_client(void);
static bool start_child(int fd);
static void run_child(struct child *child, int fd, pid_t parent);
static size_t place_of(pid_t pid);
static void reap_children(int flags);
static void let_stops_in(void);
static void serve_client(void);
static bool send_output(struct conn *conn);
static bool sleep_or_work(struct conn *conn);
static bool receive(struct conn *conn);
static bool lost(void);

static const struct model model = {
	.name = "fork_per_conn",
	.thesis = "A process for each connection, forked when it comes, waits in each call and ends with it.",
	.needs = "Linux",
};

int main(int argc, char **argv)
{
	options = options_parse(&model, argc, argv);
	listen_fd = server_start(&options, SOCK_NONBLOCK);
	prepare();
	server_ready(listen_fd, &options);

	while (!server_stopping) {
		struct pollfd listener = {.fd = listen_fd, .events = POLLIN};
		wait_for(&listener, NULL);
		counters.wakeups++;
		if (listener.revents)
			accept_client();
	}

	for (size_t place = 0; place < places; place++)
		if (pids[place])
			kill(pids[place], SIGTERM);
	reap_children(0);
	close(listen_fd);
	int status = server_report(&counters, requests);
	return well ? status : 1;
}

static void on_child(int signal)
{
	(void)signal; /* ends ppoll, which is all */
}

/* The signals stay blocked in the parent but while it waits, and in a child until it has its own handlers. */
static void prepare(void)
{
	children = mmap(NULL, MOST_CHILDREN * sizeof *children, PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (children == MAP_FAILED)
		die("mmap for the counters of %d children: %s", MOST_CHILDREN, strerror(errno));
	struct sigaction child = {.sa_handler = on_child, .sa_flags = SA_NOCLDSTOP};
	sigaction(SIGCHLD, &child, NULL);
	sigset_t mask;
	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_BLOCK, &mask, NULL);
}

/* Waits for a client (NULL: for none), the end of a child, a stop or the timeout. */
static void wait_for(struct pollfd *listener, const struct timespec *timeout)
{
	int n = ppoll(listener, listener ? 1 : 0, timeout, &server_wait_mask);
	if (n < 0 && errno != EINTR)
		die("ppoll: %s", strerror(errno));
	if (n < 0)
		reap_children(WNOHANG);
}

/* One for each wake-up: the fork costs so much more than the wait that there is nothing to be saved. */
static void accept_client(void)
{
	int fd = net_accept(listen_fd, SOCK_CLOEXEC);
	if (fd == NET_AGAIN)
		return;
	if (fd == NET_FAILED)
		die("accept4: %s", strerror(errno));
	static const struct timespec retry = {.tv_nsec = RETRY_NS};
	if (fd == NET_FULL) {
		count_error(&counters);
		wait_for(NULL, &retry);
		return;
	}
	counters.events++;
	count_open(&counters);
	/* Without a process to be had, the client waits until a child ends, or until others give one back. */
	while (!start_child(fd)) {
		count_error(&counters);
		wait_for(NULL, &retry);
		if (server_stopping) {
			count_close(&counters);
			break;
		}
	}
	close(fd);
}

/* Returns in the parent only. */
static bool start_child(int fd)
{
	pid_t parent = getpid();
	size_t place = place_of(0);
	if (place == MOST_CHILDREN) {
		errno = EAGAIN;
		return false;
	}
	children[place] = (struct child){.core = options.core};
	pid_t pid = fork();
	if (pid == 0)
		run_child(&children[place], fd, parent);
	if (pid < 0)
		return false;
	pids[place] = pid;
	if (place == places)
		places++;
	return true;
}

static void run_child(struct child *child, int fd, pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent) /* it died before that */
		exit(1);
	close(listen_fd);
	self = child;
	client_fd = fd;
	let_stops_in();
	serve_client();
	close(fd);
	core_free(&self->core);
	_exit(0);
}

/* Where the child of this pid is, or, for 0, a free place; MOST_CHILDREN if there is none. */
static size_t place_of(pid_t pid)
{
	size_t place = 0;
	while (place < places && pids[place] != pid)
		place++;
	return place;
}

static void reap_children(int flags)
{
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, flags)) > 0) {
		size_t place = place_of(pid);
		counters_add(&counters, &children[place].counters);
		requests += children[place].core.requests;
		count_close(&counters);
		pids[place] = 0;
		well = server_child_ended(pid, status) && well;
	}
}

/* The flag alone is not enough: a signal that comes after the look at it and before recv would be slept
 * through. After a shutdown no call waits on that socket any more, whether it has begun or not. */
static void on_stop(int signal)
{
	(void)signal;
	int saved_errno = errno;
	server_stopping = 1;
	shutdown(client_fd, SHUT_RDWR);
	errno = saved_errno;
}

static void let_stops_in(void)
{
	struct sigaction stop = {.sa_handler = on_stop};
	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGINT, &stop, NULL);
	sigprocmask(SIG_SETMASK, &server_wait_mask, NULL);
}

/* Does what the connection wants, one thing after the other, until it is over. */
static void serve_client(void)
{
	struct conn conn;
	conn_open(&conn, &self->core);
	for (bool connected = true; connected && !server_stopping;) {
		unsigned wants = conn_wants(&conn);
		if (wants & CONN_SEND) {
			connected = send_output(&conn);
		} else if (wants & CONN_PAUSE) {
			connected = sleep_or_work(&conn);
		} else if (wants & CONN_SHUT) {
			shutdown(client_fd, SHUT_WR);
			conn_did(&conn, CONN_SHUT);
		} else if (wants & CONN_RECV) {
			connected = receive(&conn);
		} else {
			connected = false; /* CONN_CLOSE */
		}
	}
	conn_drop(&conn);
}

static bool send_output(struct conn *conn)
{
	ssize_t n = net_send(client_fd, conn_output(conn));
	if (n == NET_FAILED)
		return lost();
	if (n > 0)
		conn_sent(conn, (size_t)n);
	return true;
}

static bool sleep_or_work(struct conn *conn)
{
	if (!pause_on(client_fd, conn_pause(conn)))
		return lost();
	conn_did(conn, CONN_PAUSE);
	return true;
}

static bool receive(struct conn *conn)
{
	size_t room = conn_room(conn);
	ssize_t n = net_recv(client_fd, received, room < sizeof received ? room : sizeof received);
	self->counters.wakeups++;
	if (n == NET_AGAIN)
		return true; /* a signal */
	if (n == NET_FAILED)
		return lost();
	self->counters.events++;
	if (n > 0)
		conn_feed(conn, received, (size_t)n);
	else
		conn_eof(conn);
	return true;
}

/* What fails after our own shutdown is no error of the peer. Returns false: not connected. */
static bool lost(void)
{
	if (!server_stopping)
		count_error(&self->counters);
	return false;
}
