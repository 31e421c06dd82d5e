/* prefork: as many processes as shall serve at once, forked before the first client comes.
 *
 * Each worker is blocking.c: it accepts a client from the listener that all share, serves it to its end,
 * accepts the next. There is no dispatcher and no lock between them: the kernel's accept queue is what they
 * share, and a new connection wakes one of those who wait in accept, the one that has waited longest, and not
 * the herd. What a fork costs is paid before the first client; a worker that crashes takes one client along.
 *
 * The price is the pool: P workers serve P clients, however silent these are, and all others wait in the
 * backlog. A worker costs the pages that it has written to since the fork, and in the kernel a task, a table of
 * descriptors and page tables.
 *
 * The parent serves nobody. It waits for SIGTERM, which it hands on, and for the end of its workers, of whom
 * none is replaced: one that dies by itself is a defect, and in the end the parent's status says so. What
 * workers count lies in memory that all share.
 *
 * While a send waits nothing is read: a client that sends on and never reads stops its own echo, nobody else's.
 *
 * Per request, one connection at a time: recv, send.
 * Per idle connection: one of the workers.
 * A return from accept or recv counts as a wake-up that brings one event.
 * Needs Linux, for the signal that ends a worker whose parent has died (PR_SET_PDEATHSIG).
 * Try: build/servers/prefork --workers 2 --protocol greet --delay 2s --port 8080, then nc 127.0.0.1 8080 thrice
 */
#include "net.h"
#include "pause.h"
#include "server.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RETRY_MS = 100 };

struct worker {
	_Alignas(64) struct core core; /* no cache line belongs to two workers */
	struct counters counters;
	pid_t pid;
};

struct shared {
	atomic_uint_fast64_t open, peak; /* connections now, and at most, over all workers */
	struct worker workers[];
};

static struct options options;
static struct shared *shared;
static struct worker *self; /* in a worker: its own part of that memory */
static int listen_fd;
static volatile sig_atomic_t client_fd = -1; /* -1: nobody is being served */
static uint8_t received[65536];

static void start_workers(void);
static void run_worker(struct worker *worker, pid_t parent);
static unsigned reap_workers(int flags, bool *well);
static int report(void);
static void let_stops_in(void);
static void accept_client(void);
static void count_another(void);
static void serve_client(void);
static bool send_output(struct conn *conn);
static bool sleep_or_work(struct conn *conn);
static bool receive(struct conn *conn);
static bool lost(void);

static const struct model model = {
	.name = "prefork",
	.thesis = "Processes forked at the start wait in accept on one listener; each serves one client to its "
		  "end.",
	.needs = "Linux",
	.clients_at_once = OPTIONS_WORKERS,
	.workers = 16,
};

int main(int argc, char **argv)
{
	options = options_parse(&model, argc, argv);
	listen_fd = server_start(&options, 0);
	start_workers();
	server_ready(listen_fd, &options);

	bool well = true;
	unsigned living = options.workers;
	while (!server_stopping && living > 0) {
		sigsuspend(&server_wait_mask);
		living -= reap_workers(WNOHANG, &well);
	}

	for (unsigned i = 0; i < options.workers; i++)
		if (shared->workers[i].pid)
			kill(shared->workers[i].pid, SIGTERM);
	while (living > 0)
		living -= reap_workers(0, &well);
	close(listen_fd);
	int status = report();
	return well ? status : 1;
}

static void on_child(int signal)
{
	(void)signal; /* ends sigsuspend, which is all */
}

/* All signals stay blocked in the parent but while it waits, and in a worker until it has its own handlers. */
static void start_workers(void)
{
	size_t size = sizeof *shared + options.workers * sizeof *shared->workers;
	shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		die("no memory for %u workers: %s; give fewer --workers", options.workers, strerror(errno));
	struct sigaction child = {.sa_handler = on_child, .sa_flags = SA_NOCLDSTOP};
	sigaction(SIGCHLD, &child, NULL);
	sigset_t mask;
	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_BLOCK, &mask, NULL);

	pid_t parent = getpid();
	for (unsigned i = 0; i < options.workers; i++) {
		shared->workers[i].core = options.core;
		pid_t pid = fork();
		if (pid < 0) /* the workers there are die with this process */
			die("fork of worker %u of %u: %s; give fewer --workers", i + 1, options.workers,
				strerror(errno));
		if (pid == 0)
			run_worker(&shared->workers[i], parent);
		shared->workers[i].pid = pid;
	}
}

static void run_worker(struct worker *worker, pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent) /* it died before that */
		exit(1);
	self = worker;
	let_stops_in();

	while (!server_stopping)
		accept_client();

	close(listen_fd);
	core_free(&self->core);
	_exit(0);
}

/* Takes in those that have ended, how many, and whether each of them meant to. */
static unsigned reap_workers(int flags, bool *well)
{
	unsigned ended = 0;
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, flags)) > 0) {
		ended++;
		for (unsigned i = 0; i < options.workers; i++)
			if (shared->workers[i].pid == pid)
				shared->workers[i].pid = 0;
		*well = *well && server_child_ended(pid, status);
	}
	return ended;
}

static int report(void)
{
	struct counters sum = {0};
	uint64_t requests = 0;
	for (unsigned i = 0; i < options.workers; i++) {
		counters_add(&sum, &shared->workers[i].counters);
		requests += shared->workers[i].core.requests;
	}
	sum.peak = shared->peak;
	return server_report(&sum, requests);
}

/* The flag alone is not enough: a signal that comes after the look at it and before accept or recv would be
 * slept through. After a shutdown no call waits on that socket any more, whether it has begun or not. The
 * listener is shut down for all workers: who stops one stops them all. */
static void on_stop(int signal)
{
	(void)signal;
	int saved_errno = errno;
	server_stopping = 1;
	shutdown(listen_fd, SHUT_RDWR);
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

static void accept_client(void)
{
	int fd = net_accept(listen_fd, SOCK_CLOEXEC);
	self->counters.wakeups++;
	if (fd == NET_AGAIN || (fd == NET_FAILED && server_stopping))
		return;
	if (fd == NET_FAILED && errno == EINVAL) { /* shut down by a worker whom the signal reached first */
		server_stopping = 1;
		return;
	}
	if (fd == NET_FAILED)
		die("accept4: %s", strerror(errno));
	if (fd == NET_FULL) { /* the descriptors of this process are not what is missing: only try again */
		count_error(&self->counters);
		poll(NULL, 0, RETRY_MS);
		return;
	}
	client_fd = fd;
	self->counters.events++;
	count_another();
	serve_client();
	client_fd = -1; /* before the number can belong to anyone else */
	close(fd);
	shared->open--;
	count_close(&self->counters);
}

static void count_another(void)
{
	uint64_t open = ++shared->open, peak = shared->peak;
	while (peak < open && !atomic_compare_exchange_weak(&shared->peak, &peak, open))
		;
	count_open(&self->counters);
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
