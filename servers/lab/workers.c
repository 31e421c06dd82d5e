/* lab/workers: epoll in several threads or processes, and the ways in which they can share the work.
 *
 * Each worker is an event loop like servers/epoll_lt.c. How do clients get to them? All watch one listener, and
 * each new client wakes all of them (shared) or one of those that sleep (exclusive); each has a listener of its
 * own, and the kernel spreads by a hash of the addresses (reuseport); or the main thread accepts and deals them
 * out in turn (dispatch). Or all threads wait in one epoll: then any of them may serve any client, one at a
 * time (EPOLLONESHOT), and each event costs an epoll_ctl.
 *
 * What the report's `workers` shows: how evenly clients and requests were spread.
 *
 * Needs Linux 5.11 (epoll_pwait2; EPOLLEXCLUSIVE is of 4.5, SO_REUSEPORT of 3.9) and POSIX threads.
 * Try: build/lab/workers --workers 4 --accept reuseport --protocol http --port 8080
 */
#include "crew.h"
#include "net.h"
#include "pause.h"

#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/queue.h>

enum {
	EVENTS_PER_WAIT = 256,
	ACCEPTS_PER_WAKEUP = 64,
	TURNS_PER_EVENT = 16,
	PASSED_AT_ONCE = 64, /* clients, from the main thread to a worker */
	RETRY_MS = 100,
};

struct client {
	struct conn conn;
	struct deadline deadline;
	LIST_ENTRY(client) all;
	struct worker *home;   /* in whose list it is */
	struct worker *keeper; /* among whose deadlines its own is, while that is set */
	int fd;
	uint32_t interest; /* as the kernel has it; 0 after an event, with one epoll for all */
};

struct worker {
	_Alignas(64) struct core core; /* no cache line belongs to two workers */
	struct counters counters;
	struct deadlines deadlines;
	struct deadline retry; /* to accept again, when it ran out of descriptors */
	LIST_HEAD(, client) clients;
	pthread_mutex_t lock; /* of the list: with one epoll for all, others close clients, too */
	struct hand hand;
	int listen_fd, epoll_fd;
	int mailbox[2]; /* a pipe of accepted descriptors, with --accept dispatch */
	bool accepting;
	uint8_t received[65536];
};

static struct options options;
static struct worker *workers;      /* in memory that child processes share */
static struct counters at_the_door; /* errors of the main thread, when it accepts */
static int stop_fd;                 /* an eventfd that all workers watch; nobody reads it */

static struct knob knobs[] = {
	{"accept",
		"all watch one listener (and wake together, or one at a time), one listener each, or the main "
		"thread accepts for them",
		.choices = "shared|exclusive|reuseport|dispatch"},
	{"epoll", "of each worker, or one for all", .choices = "own|shared"},
	{"spawn", "what a worker is", .choices = "threads|processes"},
	{0},
};
enum { ACCEPT, EPOLL, SPAWN };
enum { SHARED, EXCLUSIVE, REUSEPORT, DISPATCH };

static const char listener_tag, stop_tag, mailbox_tag; /* in event.data.ptr, where no client is meant */

static void check_knobs(void);
static void prepare_workers(int listen_fd);
static void own_listener(struct worker *worker);
static void deal_out(int listen_fd);
static bool stop_workers(void);
static int report(void);
static void *work(void *worker);
static void close_clients(struct worker *worker);
static void free_worker(struct worker *worker);
static void watch(const struct worker *worker, int fd, uint32_t interest, const void *tag);
static void watch_listener(struct worker *worker, bool on);
static void handle_event(struct worker *worker, const struct epoll_event *event);
static void take_passed(struct worker *worker);
static void accept_clients(struct worker *worker);
static void wait_for_room(struct worker *worker);
static void open_client(struct worker *worker, int fd);
static void handle_client(struct worker *worker, struct client *client, uint32_t ready);
static bool receive(struct worker *worker, struct client *client);
static void advance(struct worker *worker, struct client *client);
static void set_interest(struct worker *worker, struct client *client);
static void resume_expired(struct worker *worker);
static void close_client(struct worker *worker, struct client *client);

static const struct model model = {
	.name = "workers",
	.thesis = "Several event loops: how do clients get to them, and how evenly are they spread?",
	.needs = "Linux 5.11",
	.workers = 2,
	.knobs = knobs,
};

static bool is_shared(void)
{
	return knobs[EPOLL].value;
}

int main(int argc, char **argv)
{
	options = options_parse(&model, argc, argv);
	check_knobs();
	int listen_fd = server_start(&options, SOCK_NONBLOCK);
	prepare_workers(listen_fd);
	for (unsigned i = 0; i < options.workers; i++)
		workers[i].hand = crew_start(knobs[SPAWN].value, work, &workers[i]);
	server_ready(listen_fd, &options);

	if (knobs[ACCEPT].value == DISPATCH)
		deal_out(listen_fd);
	while (!server_stopping)
		sigsuspend(&server_wait_mask);

	bool well = stop_workers();
	close(listen_fd);
	int status = report();
	return well ? status : 1;
}

static void check_knobs(void)
{
	bool processes = knobs[SPAWN].value;
	if (is_shared() && knobs[ACCEPT].value != SHARED)
		options_refuse(model.name, "--epoll shared and --accept other than shared do not fit: "
					   "who waits for all clients waits for the listener, too");
	if (is_shared() && processes)
		options_refuse(model.name, "--epoll shared and --spawn processes do not fit: "
					   "a client's memory belongs to one process");
	if (knobs[ACCEPT].value == DISPATCH && processes)
		options_refuse(model.name, "--accept dispatch and --spawn processes do not fit: "
					   "a descriptor's number means nothing to another process");
	if (knobs[ACCEPT].value == REUSEPORT && options.unix_path)
		options_refuse(model.name, "--accept reuseport and --listen do not fit: only TCP has ports");
}

static void prepare_workers(int listen_fd)
{
	workers = crew_memory(options.workers * sizeof *workers);
	stop_fd = eventfd(0, EFD_CLOEXEC);
	if (stop_fd < 0)
		die("eventfd: %s", strerror(errno));
	int common = is_shared() ? epoll_create1(EPOLL_CLOEXEC) : -1;
	for (unsigned i = 0; i < options.workers; i++) {
		struct worker *worker = &workers[i];
		worker->core = options.core;
		worker->listen_fd = listen_fd;
		worker->epoll_fd = is_shared() ? common : epoll_create1(EPOLL_CLOEXEC);
		pthread_mutex_init(&worker->lock, NULL);
		LIST_INIT(&worker->clients);
		if (worker->epoll_fd < 0)
			die("epoll_create1: %s", strerror(errno));
		if (is_shared() && i > 0)
			continue;
		watch(worker, stop_fd, EPOLLIN, &stop_tag);
		if (knobs[ACCEPT].value == REUSEPORT)
			own_listener(worker);
		if (knobs[ACCEPT].value == DISPATCH) {
			if (pipe2(worker->mailbox, O_CLOEXEC) != 0)
				die("pipe2: %s", strerror(errno));
			watch(worker, worker->mailbox[0], EPOLLIN, &mailbox_tag);
		} else {
			watch_listener(worker, true);
		}
	}
}

/* The first worker keeps the listener that exists. */
static void own_listener(struct worker *worker)
{
	if (worker == workers)
		crew_share_port(worker->listen_fd);
	else
		worker->listen_fd = crew_listener(workers->listen_fd, SOCK_NONBLOCK, options.backlog);
}

/* The main thread accepts and passes the descriptors on, in turn. Without descriptors left it has no client of
 * its own whose end it would see, so it tries again after a while. */
static void deal_out(int listen_fd)
{
	for (unsigned turn = 0; !server_stopping;) {
		ppoll(&(struct pollfd){.fd = listen_fd, .events = POLLIN}, 1, NULL, &server_wait_mask);
		int fd = net_accept(listen_fd, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd == NET_FAILED)
			die("accept4: %s", strerror(errno));
		if (fd == NET_FULL) {
			count_error(&at_the_door);
			struct timespec retry = {0, RETRY_MS * 1000000};
			ppoll(NULL, 0, &retry, &server_wait_mask);
		}
		if (fd >= 0 && write(workers[turn++ % options.workers].mailbox[1], &fd, sizeof fd) != sizeof fd)
			die("a worker's mailbox: %s", strerror(errno));
	}
}

/* False if a worker process did not end well. */
static bool stop_workers(void)
{
	bool well = true;
	if (write(stop_fd, &(uint64_t){1}, sizeof(uint64_t)) < 0)
		die("eventfd: %s", strerror(errno));
	for (unsigned i = 0; i < options.workers; i++)
		well &= crew_join(workers[i].hand);
	/* With one epoll for all, clients are anybody's until all threads have ended, and so are their blocks.
	 */
	for (unsigned i = 0; is_shared() && i < options.workers; i++)
		close_clients(&workers[i]);
	for (unsigned i = 0; is_shared() && i < options.workers; i++)
		free_worker(&workers[i]);
	return well;
}

static int report(void)
{
	struct counters sum = at_the_door, each[options.workers];
	uint64_t requests = 0, of_each[options.workers];
	for (unsigned i = 0; i < options.workers; i++) {
		each[i] = workers[i].counters;
		of_each[i] = workers[i].core.requests;
		requests += of_each[i];
		counters_add(&sum, &each[i]);
	}
	return server_report_workers(&sum, requests, each, of_each, options.workers);
}

static void *work(void *argument)
{
	struct worker *worker = argument;
	for (bool stopping = false; !stopping;) {
		struct epoll_event events[EVENTS_PER_WAIT];
		struct timespec timeout;
		int n = epoll_pwait2(worker->epoll_fd, events, is_shared() ? 1 : EVENTS_PER_WAIT,
			pause_timeout(&worker->deadlines, &timeout), NULL);
		if (n < 0 && errno != EINTR)
			die("epoll_pwait2: %s", strerror(errno));
		worker->counters.wakeups++;
		for (int i = 0; i < n; i++) {
			worker->counters.events++;
			stopping |= events[i].data.ptr == &stop_tag;
			handle_event(worker, &events[i]);
		}
		resume_expired(worker);
	}
	if (!is_shared()) {
		close_clients(worker);
		free_worker(worker);
	}
	return NULL;
}

static void close_clients(struct worker *worker)
{
	while (!LIST_EMPTY(&worker->clients))
		close_client(worker, LIST_FIRST(&worker->clients));
}

static void free_worker(struct worker *worker)
{
	core_free(&worker->core);
	deadlines_free(&worker->deadlines);
}

static void watch(const struct worker *worker, int fd, uint32_t interest, const void *tag)
{
	struct epoll_event event = {.events = interest, .data.ptr = (void *)(uintptr_t)tag};
	if (epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
		die("epoll_ctl: %s", strerror(errno));
}

static void watch_listener(struct worker *worker, bool on)
{
	uint32_t interest = EPOLLIN;
	if (knobs[ACCEPT].value == EXCLUSIVE)
		interest |= EPOLLEXCLUSIVE;
	if (on)
		watch(worker, worker->listen_fd, interest, &listener_tag);
	else if (epoll_ctl(worker->epoll_fd, EPOLL_CTL_DEL, worker->listen_fd, NULL) != 0)
		die("epoll_ctl for the listener: %s", strerror(errno));
	worker->accepting = on;
}

static void handle_event(struct worker *worker, const struct epoll_event *event)
{
	if (event->data.ptr == &listener_tag)
		accept_clients(worker);
	else if (event->data.ptr == &mailbox_tag)
		take_passed(worker);
	else if (event->data.ptr != &stop_tag)
		handle_client(worker, event->data.ptr, event->events);
}

static void take_passed(struct worker *worker)
{
	int fds[PASSED_AT_ONCE];
	ssize_t bytes = read(worker->mailbox[0], fds, sizeof fds);
	for (ssize_t i = 0; i < bytes / (ssize_t)sizeof fds[0]; i++)
		open_client(worker, fds[i]);
}

static void accept_clients(struct worker *worker)
{
	for (int i = 0; i < ACCEPTS_PER_WAKEUP; i++) {
		int fd = net_accept(worker->listen_fd, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd == NET_AGAIN) {
			worker->counters.eagain += i == 0; /* woken for nothing */
			return;
		}
		if (fd == NET_FAILED)
			die("accept4: %s", strerror(errno));
		if (fd == NET_FULL) {
			count_error(&worker->counters);
			wait_for_room(worker);
			return;
		}
		open_client(worker, fd);
	}
}

/* The descriptors are everybody's, and whoever gives one back tells nobody else: so a worker looks again after
 * a while, unless a client of its own closes before. With one epoll for all it sleeps so long: others are
 * awake. */
static void wait_for_room(struct worker *worker)
{
	struct pause retry = {.kind = PAUSE_DELAY, .amount = RETRY_MS * 1000000};
	if (is_shared()) {
		pause_here(retry);
		return;
	}
	watch_listener(worker, false);
	pause_begin(&worker->deadlines, &worker->retry, retry);
}

static uint32_t oneshot(void)
{
	return is_shared() ? EPOLLONESHOT : 0;
}

static void open_client(struct worker *worker, int fd)
{
	struct client *client = calloc(1, sizeof *client);
	if (!client)
		die("no memory for another client");
	client->fd = fd;
	client->home = worker;
	client->interest = EPOLLIN | oneshot();
	conn_open(&client->conn, &worker->core);
	pthread_mutex_lock(&worker->lock);
	LIST_INSERT_HEAD(&worker->clients, client, all);
	count_open(&worker->counters);
	pthread_mutex_unlock(&worker->lock);
	watch(worker, fd, client->interest, client); /* from here on it may be another worker's */
}

static void handle_client(struct worker *worker, struct client *client, uint32_t ready)
{
	unsigned wants = conn_wants(&client->conn);
	if (is_shared()) {
		client->interest = 0; /* the kernel has let go of it: it is ours until it is armed again */
		conn_move(&client->conn, &worker->core);
	}
	if (wants & CONN_RECV && ready & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		if (receive(worker, client))
			advance(worker, client);
	} else if (ready & (EPOLLHUP | EPOLLERR) && !(wants & CONN_SEND)) {
		close_client(worker, client);
	} else {
		advance(worker, client);
	}
}

/* False: the client is gone. */
static bool receive(struct worker *worker, struct client *client)
{
	size_t room = conn_room(&client->conn), most = sizeof worker->received;
	ssize_t n = net_recv(client->fd, worker->received, room < most ? room : most);
	if (n == NET_FAILED) {
		count_error(&worker->counters);
		close_client(worker, client);
		return false;
	}
	if (n == NET_AGAIN)
		worker->counters.eagain++;
	else if (n > 0)
		conn_feed(&client->conn, worker->received, (size_t)n);
	else
		conn_eof(&client->conn);
	return true;
}

static void advance(struct worker *worker, struct client *client)
{
	for (int turn = 0; turn < TURNS_PER_EVENT; turn++) {
		unsigned wants = conn_wants(&client->conn);
		if (wants & CONN_SEND) {
			struct span output = conn_output(&client->conn);
			ssize_t n = net_send(client->fd, output);
			if (n == NET_FAILED) {
				count_error(&worker->counters);
				close_client(worker, client);
				return;
			}
			if (n == NET_AGAIN) {
				worker->counters.eagain++;
				break;
			}
			conn_sent(&client->conn, (size_t)n);
			if ((size_t)n < output.len)
				break;
		} else if (wants & CONN_PAUSE) {
			struct pause pause = conn_pause(&client->conn);
			if (pause.kind == PAUSE_DELAY) {
				if (!deadline_is_set(&client->deadline))
					pause_begin(&worker->deadlines, &client->deadline, pause);
				client->keeper = worker;
				break;
			}
			pause_here(pause);
			conn_did(&client->conn, CONN_PAUSE);
		} else if (wants & CONN_SHUT) {
			shutdown(client->fd, SHUT_WR);
			conn_did(&client->conn, CONN_SHUT);
		} else if (wants & CONN_CLOSE) {
			close_client(worker, client);
			return;
		} else {
			break;
		}
	}
	set_interest(worker, client);
}

/* With one epoll for all, a client whose delay this worker keeps stays this worker's: it is not armed. */
static void set_interest(struct worker *worker, struct client *client)
{
	bool delayed = deadline_is_set(&client->deadline);
	if (is_shared() && delayed)
		return;
	unsigned wants = conn_wants(&client->conn);
	uint32_t interest = oneshot() | (wants & CONN_RECV ? EPOLLIN : 0);
	if (wants != CONN_RECV && !delayed)
		interest |= EPOLLOUT;
	if (interest == client->interest)
		return;
	client->interest = interest;
	struct epoll_event event = {.events = interest, .data.ptr = client};
	if (epoll_ctl(worker->epoll_fd, EPOLL_CTL_MOD, client->fd, &event) != 0)
		die("epoll_ctl: %s", strerror(errno));
}

static void resume_expired(struct worker *worker)
{
	struct deadline *deadline;
	while ((deadline = pause_expired(&worker->deadlines))) {
		if (deadline == &worker->retry) {
			watch_listener(worker, true);
			continue;
		}
		struct client *client = (struct client *)((char *)deadline - offsetof(struct client, deadline));
		conn_did(&client->conn, CONN_PAUSE);
		advance(worker, client);
	}
}

static void close_client(struct worker *worker, struct client *client)
{
	struct worker *home = client->home;
	if (deadline_is_set(&client->deadline))
		deadline_clear(&client->keeper->deadlines, &client->deadline);
	conn_drop(&client->conn);
	pthread_mutex_lock(&home->lock);
	LIST_REMOVE(client, all);
	count_close(&home->counters);
	pthread_mutex_unlock(&home->lock);
	close(client->fd);
	free(client);
	if (!worker->accepting && !is_shared() && knobs[ACCEPT].value != DISPATCH) {
		deadline_clear(&worker->deadlines, &worker->retry);
		watch_listener(worker, true);
	}
}
