/* lab/sigio: the sigio page, with the three ways in which a program can take its signals.
 *
 * From a signalfd, many in one read, as the page does. By sigtimedwait, one in each call. Or by a handler, as
 * the books have it: it runs for each signal while the thread waits, may do next to nothing, and leaves a note
 * that the loop finds when the wait has ended.
 *
 * Needs Linux 2.6.32 (F_SETOWN_EX).
 * Try: build/lab/sigio --delivery handler
 */
#include "net.h"
#include "pause.h"
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define IO_SIGNAL SIGRTMIN /* the C library keeps the first ones of the kernel's for itself */

enum {
	SIGNALS_PER_WAIT = 256,
	ACCEPTS_PER_WAKEUP = 64, /* a crowd at the door must not starve those inside */
	TURNS_PER_EVENT = 16,    /* nor may one client's sends and work starve the others */
	READS_AT_MOST = 2,       /* one that takes all the bytes there are, one for the FIN behind them */
	RETRY_NS = 100000000,
};

struct client {
	struct conn conn;
	struct deadline deadline;
	LIST_ENTRY(client) all;
	TAILQ_ENTRY(client) next;
	int fd;
	unsigned char reads; /* that the signals so far are worth */
	bool writable;       /* as far as we know */
	bool queued;
};

static struct core core;
static struct counters counters;
static struct deadlines deadlines;
static LIST_HEAD(, client) clients;
static struct client **by_fd; /* NULL where a number is nobody's */
static size_t fd_count;
static TAILQ_HEAD(queue, client) queue; /* with something to do */
static int listen_fd, signal_fd;
static bool accepting = true, knocked; /* knocked: somebody may be at the door */
static uint8_t received[65536];
static sigset_t taken, wait_mask; /* the signals that are ours; what is blocked while a handler may run */
static struct signalfd_siginfo notes[SIGNALS_PER_WAIT]; /* of the handler */
static volatile sig_atomic_t noted;

static struct knob knobs[] = {
	{"delivery", "signals are taken from a signalfd, by sigtimedwait, or by a handler",
		.choices = "signalfd|sigwaitinfo|handler"},
	{0},
};
enum { SIGNALFD, SIGWAITINFO, HANDLER };

static void open_signal_fd(void);
static void signal_us(int fd);
static size_t take_signals(struct signalfd_siginfo *signals);
static size_t take_from_fd(struct signalfd_siginfo *signals, const struct timespec *timeout);
static size_t take_one(struct signalfd_siginfo *signals, const struct timespec *timeout);
static size_t take_notes(struct signalfd_siginfo *signals, const struct timespec *timeout);
static void on_signal(int number, siginfo_t *info, void *interrupted);
static void handle_signal(const struct signalfd_siginfo *signal);
static void handle_io(int fd, int code);
static void sweep(void);
static void enqueue(struct client *client);
static void accept_clients(void);
static void open_client(int fd);
static void make_place(int fd);
static void serve_queued(void);
static void advance(struct client *client);
static bool receive(struct client *client);
static bool send_output(struct client *client);
static void begin_pause(struct client *client);
static void resume_expired(void);
static void close_client(struct client *client);

static const struct model model = {
	.name = "sigio",
	.thesis = "The sigio page: what does it matter how a signal is taken?",
	.needs = "Linux 2.6.32",
	.knobs = knobs,
};

int main(int argc, char **argv)
{
	struct options options = options_parse(&model, argc, argv);
	core = options.core;
	listen_fd = server_start(&options, SOCK_NONBLOCK);
	open_signal_fd();
	signal_us(listen_fd);
	TAILQ_INIT(&queue);
	server_ready(listen_fd, &options);

	while (!server_stopping) {
		static struct signalfd_siginfo signals[SIGNALS_PER_WAIT];
		size_t n = take_signals(signals);
		counters.wakeups++;
		for (size_t i = 0; i < n; i++)
			handle_signal(&signals[i]);
		if (knocked && accepting)
			accept_clients();
		serve_queued();
		resume_expired();
	}

	while (!LIST_EMPTY(&clients))
		close_client(LIST_FIRST(&clients));
	close(listen_fd);
	close(signal_fd);
	free(by_fd);
	deadlines_free(&deadlines);
	core_free(&core);
	return server_report(&counters, core.requests);
}

static void open_signal_fd(void)
{
	struct rlimit pending;
	if (getrlimit(RLIMIT_SIGPENDING, &pending) != 0)
		die("getrlimit: %s", strerror(errno));
	pending.rlim_cur = pending.rlim_max; /* the longer the queue, the rarer the sweeps */
	setrlimit(RLIMIT_SIGPENDING, &pending);

	sigemptyset(&taken);
	sigaddset(&taken, IO_SIGNAL);
	sigaddset(&taken, SIGIO);
	sigaddset(&taken, SIGTERM);
	sigaddset(&taken, SIGINT);
	sigprocmask(SIG_BLOCK, &taken, &wait_mask);
	sigdelset(&wait_mask, IO_SIGNAL);
	sigdelset(&wait_mask, SIGIO);
	sigdelset(&wait_mask, SIGTERM);
	sigdelset(&wait_mask, SIGINT);
	if (knobs[0].value == HANDLER) { /* one for them all, which none of them interrupts */
		struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO, .sa_mask = taken};
		sigaction(IO_SIGNAL, &action, NULL);
		sigaction(SIGIO, &action, NULL);
		sigaction(SIGTERM, &action, NULL);
		sigaction(SIGINT, &action, NULL);
	}
	signal_fd = signalfd(-1, &taken, SFD_CLOEXEC);
	if (signal_fd < 0)
		die("signalfd: %s", strerror(errno));
}

/* Named as a thread, so that the signals queue there, and no lock of the whole process is taken for each. */
static void signal_us(int fd)
{
	struct f_owner_ex us = {.type = F_OWNER_TID, .pid = gettid()};
	if (fcntl(fd, F_SETOWN_EX, &us) != 0 || fcntl(fd, F_SETSIG, IO_SIGNAL) != 0 ||
		fcntl(fd, F_SETFL, O_NONBLOCK | O_ASYNC) != 0)
		die("fcntl: a descriptor takes no signal: %s", strerror(errno));
}

static size_t take_signals(struct signalfd_siginfo *signals)
{
	static const struct timespec now;
	struct timespec until_deadline;
	bool busy = !TAILQ_EMPTY(&queue) || (knocked && accepting);
	const struct timespec *timeout = busy ? &now : pause_timeout(&deadlines, &until_deadline);
	if (knobs[0].value == SIGWAITINFO)
		return take_one(signals, timeout);
	return knobs[0].value == HANDLER ? take_notes(signals, timeout) : take_from_fd(signals, timeout);
}

static size_t take_from_fd(struct signalfd_siginfo *signals, const struct timespec *timeout)
{
	if (timeout) {
		int n = ppoll(&(struct pollfd){.fd = signal_fd, .events = POLLIN}, 1, timeout, NULL);
		if (n < 0 && errno != EINTR)
			die("ppoll: %s", strerror(errno));
		if (n <= 0)
			return 0;
	}
	ssize_t bytes = read(signal_fd, signals, SIGNALS_PER_WAIT * sizeof *signals);
	if (bytes < 0 && errno != EINTR)
		die("read of the signalfd: %s", strerror(errno));
	return bytes > 0 ? (size_t)bytes / sizeof *signals : 0;
}

static struct signalfd_siginfo note_of(int number, const siginfo_t *info)
{
	return (struct signalfd_siginfo){
		.ssi_signo = (uint32_t)number, .ssi_fd = info->si_fd, .ssi_code = info->si_code};
}

static size_t take_one(struct signalfd_siginfo *signals, const struct timespec *timeout)
{
	siginfo_t info;
	int number = timeout ? sigtimedwait(&taken, &info, timeout) : sigwaitinfo(&taken, &info);
	if (number < 0 && errno != EAGAIN && errno != EINTR)
		die("sigtimedwait: %s", strerror(errno));
	if (number < 0)
		return 0;
	signals[0] = note_of(number, &info);
	return 1;
}

/* The wait itself lets one signal in: its handler runs with all of them blocked, and returns to the mask from
 * before the wait, which blocks them as well. Those queued behind it are let in afterwards, one handler after
 * the other. */
static size_t take_notes(struct signalfd_siginfo *signals, const struct timespec *timeout)
{
	if (ppoll(NULL, 0, timeout, &wait_mask) < 0) {
		if (errno != EINTR)
			die("ppoll: %s", strerror(errno));
		sigprocmask(SIG_SETMASK, &wait_mask, NULL);
		sigprocmask(SIG_BLOCK, &taken, NULL);
	}
	size_t n = (size_t)noted; /* the signals are blocked again: nobody writes now */
	memcpy(signals, notes, n * sizeof *signals);
	noted = 0;
	return n;
}

/* With the last note it blocks the signals for the code that it returns to: what is left stays queued for the
 * next wait, as with a full read of a signalfd. They are added to that mask one by one, because the kernel's
 * is shorter than a sigset_t. */
static void on_signal(int number, siginfo_t *info, void *interrupted)
{
	sigset_t *mask = &((ucontext_t *)interrupted)->uc_sigmask;
	notes[noted++] = note_of(number, info);
	for (int each = 1; noted == SIGNALS_PER_WAIT && each < NSIG; each++)
		if (sigismember(&taken, each))
			sigaddset(mask, each);
}

static void handle_signal(const struct signalfd_siginfo *signal)
{
	counters.events++;
	if (signal->ssi_signo == (uint32_t)IO_SIGNAL)
		handle_io(signal->ssi_fd, signal->ssi_code);
	else if (signal->ssi_signo == SIGIO)
		sweep();
	else
		server_stopping = 1;
}

/* Notes what a signal says; the calls come when the whole batch is noted, once for a client. */
static void handle_io(int fd, int code)
{
	struct client *client = (size_t)fd < fd_count ? by_fd[fd] : NULL;
	if (fd == listen_fd)
		knocked = true;
	if (!client)
		return; /* closed meanwhile */
	if (code != POLL_OUT && client->reads < READS_AT_MOST)
		client->reads++;
	if (code != POLL_IN) /* POLL_ERR and POLL_HUP are for both */
		client->writable = true;
	enqueue(client);
}

/* Signals were lost, nobody knows whose. Those still queued are older than this look at everybody, and would
 * only cost a call each. */
static void sweep(void)
{
	errno = EOVERFLOW;
	count_error(&counters);
	struct sigaction ours, ignore = {.sa_handler = SIG_IGN};
	sigaction(IO_SIGNAL, &ignore, &ours); /* POSIX: discards the pending ones, blocked or not */
	sigaction(IO_SIGNAL, &ours, NULL);
	knocked = true;
	struct client *client;
	LIST_FOREACH(client, &clients, all)
	{
		client->reads = READS_AT_MOST;
		client->writable = true;
		enqueue(client);
	}
}

static void enqueue(struct client *client)
{
	if (!client->queued)
		TAILQ_INSERT_TAIL(&queue, client, next);
	client->queued = true;
}

/* Until nobody is left at the door, since who is there already sends no other signal. */
static void accept_clients(void)
{
	for (int i = 0; i < ACCEPTS_PER_WAKEUP; i++) {
		int fd = net_accept(listen_fd, SOCK_CLOEXEC);
		if (fd == NET_AGAIN) {
			knocked = false;
			return;
		}
		if (fd == NET_FAILED)
			die("accept4: %s", strerror(errno));
		if (fd == NET_FULL) {
			count_error(&counters);
			/* A client of ours that closes makes room. Without any, others hold what is missing,
			 * and a short sleep keeps nobody waiting. */
			accepting = counters.open == 0;
			if (accepting)
				pause_here((struct pause){.kind = PAUSE_SLEEP, .amount = RETRY_NS});
			return;
		}
		open_client(fd);
	}
}

/* What came before the signals were asked for has sent none: so it is read at once. */
static void open_client(int fd)
{
	struct client *client = calloc(1, sizeof *client);
	if (!client)
		die("no memory for another client: %s", strerror(errno));
	make_place(fd);
	signal_us(fd);
	by_fd[fd] = client;
	client->fd = fd;
	client->reads = READS_AT_MOST;
	client->writable = true;
	conn_open(&client->conn, &core);
	LIST_INSERT_HEAD(&clients, client, all);
	enqueue(client);
	count_open(&counters);
}

static void make_place(int fd)
{
	if ((size_t)fd < fd_count)
		return;
	size_t more = 2 * (size_t)fd;
	by_fd = realloc(by_fd, more * sizeof *by_fd);
	if (!by_fd)
		die("no memory for %zu descriptors: %s", more, strerror(errno));
	memset(by_fd + fd_count, 0, (more - fd_count) * sizeof *by_fd);
	fd_count = more;
}

/* Each queued client once: those that queue again wait for their turn behind the next signals. */
static void serve_queued(void)
{
	struct queue round = TAILQ_HEAD_INITIALIZER(round);
	TAILQ_CONCAT(&round, &queue, next);
	struct client *client;
	while ((client = TAILQ_FIRST(&round))) {
		TAILQ_REMOVE(&round, client, next);
		client->queued = false;
		advance(client);
	}
}

/* Does what the connection wants until it has to wait, for a signal or for time. */
static void advance(struct client *client)
{
	for (int turn = 0; turn < TURNS_PER_EVENT; turn++) {
		unsigned wants = conn_wants(&client->conn);
		if (wants & CONN_SEND && client->writable) {
			if (!send_output(client))
				return;
		} else if (wants & CONN_RECV && client->reads > 0) {
			if (!receive(client))
				return;
		} else if (wants & CONN_PAUSE && !deadline_is_set(&client->deadline)) {
			begin_pause(client);
		} else if (wants & CONN_SHUT) {
			shutdown(client->fd, SHUT_WR);
			conn_did(&client->conn, CONN_SHUT);
		} else if (wants & CONN_CLOSE) {
			close_client(client);
			return;
		} else {
			return;
		}
	}
	enqueue(client);
}

/* A read shorter than asked took all the bytes there were: of two signals the second may tell of a FIN, of one
 * alone nothing is left. False: the client is gone. */
static bool receive(struct client *client)
{
	size_t room = conn_room(&client->conn);
	size_t size = room < sizeof received ? room : sizeof received;
	ssize_t n = net_recv(client->fd, received, size);
	if (n == NET_FAILED) {
		count_error(&counters);
		close_client(client);
		return false;
	}
	if (n == NET_AGAIN) {
		counters.eagain++;
		client->reads = 0;
	} else if (n == 0) {
		conn_eof(&client->conn);
	} else {
		conn_feed(&client->conn, received, (size_t)n);
		if ((size_t)n < size)
			client->reads--;
	}
	return true;
}

/* After a short write or none the kernel signals when there is room again. False: the client is gone. */
static bool send_output(struct client *client)
{
	struct span output = conn_output(&client->conn);
	ssize_t n = net_send(client->fd, output);
	if (n == NET_FAILED) {
		count_error(&counters);
		close_client(client);
		return false;
	}
	if (n == NET_AGAIN) {
		counters.eagain++;
		client->writable = false;
	} else {
		conn_sent(&client->conn, (size_t)n);
		client->writable = (size_t)n == output.len;
	}
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
	conn_drop(&client->conn);
	close(client->fd); /* no signal names it any more but those that are queued */
	by_fd[client->fd] = NULL;
	LIST_REMOVE(client, all);
	if (client->queued)
		TAILQ_REMOVE(&queue, client, next);
	free(client);
	count_close(&counters);
	accepting = true;
}
