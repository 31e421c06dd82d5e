/* libuv: one thread, callbacks of libuv's loop over level-triggered epoll.
 *
 * The library goes further than to say who is ready: it reads, into memory that a callback lends it, and
 * reports what came; it queues what a socket does not take at once, and reports when it is gone. So this page
 * sees no EAGAIN and no writability. It lends the same buffer to every read, writes by uv_try_write first, and
 * queues only what is left. What is lent must stay until libuv says that it is done, and so must every handle,
 * until the callback of its close.
 *
 * Only accepting is done by hand, on a uv_poll: out of descriptors, uv_listen accepts clients and closes them
 * without a word, to be rid of them; here they wait in the backlog until there is room.
 *
 * Timers and requests are large, and allocated when one is needed: a request for what a socket did not take at
 * once, a timer for a client's first delay, kept until it leaves. Timers tick in whole milliseconds, and so
 * does the wait: delays end up to one late, never early.
 *
 * Per request, one connection at a time: epoll_wait (epoll_pwait from libuv 1.45 on), read, write.
 * Needs libuv 1. pkg-config: libuv
 * Try: build/servers/libuv --protocol http --port 8080, then curl http://127.0.0.1:8080/
 */
#include "net.h"
#include "pause.h"
#include "server.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include <uv.h>

enum {
	ACCEPTS_PER_WAKEUP = 64, /* a crowd at the door must not starve those inside */
	TURNS_PER_EVENT = 16,    /* nor may one client's sends and work starve the others */
	RETRY_NS = 100000000,
};

struct client {
	struct conn conn;
	LIST_ENTRY(client) all;
	uv_tcp_t stream;
	uv_timer_t *timer; /* NULL before the first delay */
	size_t writing;    /* bytes that are queued in libuv */
	bool reading;
};

static struct core core;
static struct counters counters;
static LIST_HEAD(, client) clients;
static uv_loop_t loop;
static uv_poll_t listener;
static int listen_fd;
static bool accepting = true;
static uint8_t received[65536];

static void check(int result, const char *what);
static void start(uv_check_t *wakeup, uv_signal_t *terminate, uv_signal_t *interrupt);
static void on_wakeup(uv_check_t *wakeup);
static void on_stop(uv_signal_t *handle, int signal);
static void on_listener(uv_poll_t *unused, int status, int events);
static void wait_for_room(void);
static void open_client(int fd);
static void lend_buffer(uv_handle_t *stream, size_t suggested, uv_buf_t *buffer);
static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer);
static void advance(struct client *client);
static int send_output(struct client *client);
static void on_written(uv_write_t *write, int status);
static void begin_delay(struct client *client, uint64_t delay_ns);
static void start_timer(struct client *client, uint64_t timeout_ms);
static bool is_waiting(const struct client *client);
static void on_timer(uv_timer_t *timer);
static void set_interest(struct client *client);
static void lose_client(struct client *client, int error);
static void close_client(struct client *client);
static void free_timer(uv_handle_t *timer);
static void on_closed(uv_handle_t *stream);
static void close_handle(uv_handle_t *handle, void *unused);

static const struct model model = {
	.name = "libuv",
	.thesis = "One thread runs libuv's callbacks over level-triggered epoll: the library reads, writes and "
		  "queues.",
	.needs = "libuv 1",
};

int main(int argc, char **argv)
{
	struct options options = options_parse(&model, argc, argv);
	core = options.core;
	listen_fd = server_start(&options, SOCK_NONBLOCK);
	uv_check_t wakeup;
	uv_signal_t terminate, interrupt;
	start(&wakeup, &terminate, &interrupt);
	server_ready(listen_fd, &options);

	uv_run(&loop, UV_RUN_DEFAULT);

	while (!LIST_EMPTY(&clients))
		close_client(LIST_FIRST(&clients));
	uv_walk(&loop, close_handle, NULL);
	uv_run(&loop, UV_RUN_DEFAULT); /* until each has had its last callback */
	check(uv_loop_close(&loop), "uv_loop_close");
	close(listen_fd);
	core_free(&core);
	return server_report(&counters, core.requests);
}

static void check(int result, const char *what)
{
	if (result < 0)
		die("%s: %s", what, uv_strerror(result));
}

static void start(uv_check_t *wakeup, uv_signal_t *terminate, uv_signal_t *interrupt)
{
	check(uv_loop_init(&loop), "uv_loop_init");
	check(uv_check_init(&loop, wakeup), "uv_check_init");
	check(uv_check_start(wakeup, on_wakeup), "uv_check_start");
	check(uv_signal_init(&loop, terminate), "uv_signal_init");
	check(uv_signal_init(&loop, interrupt), "uv_signal_init");
	check(uv_signal_start(terminate, on_stop, SIGTERM), "uv_signal_start");
	check(uv_signal_start(interrupt, on_stop, SIGINT), "uv_signal_start");
	sigprocmask(
		SIG_SETMASK, &server_wait_mask, NULL); /* libuv's handlers are there: it takes them from here */
	check(uv_poll_init(&loop, &listener, listen_fd), "uv_poll_init");
	check(uv_poll_start(&listener, UV_READABLE, on_listener), "uv_poll_start");
	static uv_tcp_t
		first; /* with which libuv opens a descriptor in reserve: now, and not with the first client */
	check(uv_tcp_init(&loop, &first), "uv_tcp_init");
}

/* Called once after each wait. */
static void on_wakeup(uv_check_t *wakeup)
{
	(void)wakeup;
	counters.wakeups++;
}

static void on_stop(uv_signal_t *handle, int signal)
{
	(void)handle, (void)signal;
	uv_stop(&loop);
}

static void on_listener(uv_poll_t *unused, int status, int events)
{
	(void)unused, (void)events;
	check(status, "uv_poll of the listener");
	counters.events++;
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
	if (counters.open == 0) {
		pause_here((struct pause){.kind = PAUSE_SLEEP, .amount = RETRY_NS});
		return;
	}
	uv_poll_stop(&listener);
	accepting = false;
}

static void open_client(int fd)
{
	struct client *client = calloc(1, sizeof *client);
	if (!client)
		die("no memory for another client");
	check(uv_tcp_init(&loop, &client->stream), "uv_tcp_init");
	check(uv_tcp_open(&client->stream, fd), "uv_tcp_open");
	conn_open(&client->conn, &core);
	LIST_INSERT_HEAD(&clients, client, all);
	count_open(&counters);
	set_interest(client);
}

static struct client *client_of(void *stream)
{
	return (struct client *)((char *)stream - offsetof(struct client, stream));
}

/* Every read may use the same memory, for what comes is fed before the next one. */
static void lend_buffer(uv_handle_t *stream, size_t suggested, uv_buf_t *buffer)
{
	(void)suggested;
	size_t room = conn_room(&client_of(stream)->conn);
	buffer->base = (char *)received;
	buffer->len = room < sizeof received ? room : sizeof received;
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
	struct client *client = client_of(stream);
	counters.events++;
	if (n == 0) { /* libuv's EAGAIN */
		counters.eagain++;
		return;
	}
	if (n < 0 && n != UV_EOF) {
		lose_client(client, (int)n);
		return;
	}
	if (n > 0)
		conn_feed(&client->conn, buffer->base, (size_t)n);
	else
		conn_eof(&client->conn);
	advance(client);
}

/* Does what the connection wants until it has to wait, for the peer or for time. */
static void advance(struct client *client)
{
	for (int turn = 0; turn < TURNS_PER_EVENT; turn++) {
		unsigned wants = conn_wants(&client->conn);
		if (wants & CONN_SEND) {
			if (client->writing)
				break;
			int error = send_output(client);
			if (error) {
				lose_client(client, error);
				return;
			}
		} else if (wants & CONN_PAUSE) {
			struct pause pause = conn_pause(&client->conn);
			if (pause.kind == PAUSE_DELAY) {
				if (!is_waiting(client))
					begin_delay(client, pause.amount);
				break;
			}
			pause_here(pause);
			conn_did(&client->conn, CONN_PAUSE);
		} else if (wants & CONN_SHUT) {
			uv_os_fd_t fd;
			check(uv_fileno((uv_handle_t *)&client->stream, &fd), "uv_fileno");
			shutdown(fd, SHUT_WR); /* uv_shutdown would first wait for what is queued: nothing */
			conn_did(&client->conn, CONN_SHUT);
		} else if (wants & CONN_CLOSE) {
			close_client(client);
			return;
		} else {
			break;
		}
	}
	set_interest(client);
}

/* What the socket does not take at once is left to libuv. 0, or the error that ended the connection. */
static int send_output(struct client *client)
{
	uv_stream_t *stream = (uv_stream_t *)&client->stream;
	struct span output = conn_output(&client->conn);
	uv_buf_t buffer = uv_buf_init((char *)(uintptr_t)output.data, (unsigned)output.len);
	int sent = uv_try_write(stream, &buffer, 1);
	if (sent == UV_EAGAIN)
		counters.eagain++;
	else if (sent < 0)
		return sent;
	else
		conn_sent(&client->conn, (size_t)sent);
	if (sent == (int)output.len)
		return 0;
	output = conn_output(&client->conn);
	buffer = uv_buf_init((char *)(uintptr_t)output.data, (unsigned)output.len);
	uv_write_t *write = malloc(sizeof *write);
	if (!write)
		die("no memory for what a socket has no room for");
	write->data = client;
	client->writing = output.len;
	return uv_write(write, stream, &buffer, 1, on_written);
}

static void on_written(uv_write_t *write, int status)
{
	struct client *client = write->data;
	free(write);
	size_t sent = client->writing;
	client->writing = 0;
	if (status == UV_ECANCELED)
		return; /* closed */
	if (status < 0) {
		lose_client(client, status);
		return;
	}
	conn_sent(&client->conn, sent);
	advance(client);
}

/* libuv's clock is in whole milliseconds and stands still while callbacks run. Counted from there a delay would
 * be early, so it ends at the first tick after its time on the real clock. */
static void begin_delay(struct client *client, uint64_t delay_ns)
{
	uint64_t until_ms = (uv_hrtime() + delay_ns + 999999) / 1000000;
	start_timer(client, until_ms - uv_now(&loop));
}

static void start_timer(struct client *client, uint64_t timeout_ms)
{
	if (!client->timer) {
		client->timer = malloc(sizeof *client->timer);
		if (!client->timer)
			die("no memory for another timer");
		check(uv_timer_init(&loop, client->timer), "uv_timer_init");
		client->timer->data = client;
	}
	uv_timer_start(client->timer, on_timer, timeout_ms, 0);
}

static bool is_waiting(const struct client *client)
{
	return client->timer && uv_is_active((uv_handle_t *)client->timer);
}

static void on_timer(uv_timer_t *timer)
{
	struct client *client = timer->data;
	if (conn_wants(&client->conn) & CONN_PAUSE && conn_pause(&client->conn).kind == PAUSE_DELAY)
		conn_did(&client->conn, CONN_PAUSE);
	advance(client);
}

/* Whose turns are used up is called again in the next turn of the loop. */
static void set_interest(struct client *client)
{
	uv_stream_t *stream = (uv_stream_t *)&client->stream;
	unsigned wants = conn_wants(&client->conn);
	bool read = wants & CONN_RECV;
	if (read && !client->reading)
		uv_read_start(stream, lend_buffer, on_read);
	if (!read && client->reading)
		uv_read_stop(stream);
	client->reading = read;
	if (wants != CONN_RECV && !client->writing && !is_waiting(client))
		start_timer(client, 0);
}

static void lose_client(struct client *client, int error)
{
	errno = -error;
	count_error(&counters);
	close_client(client);
}

/* The descriptor is free at once; the memory when libuv has let go of the stream and of what it had to write.
 */
static void close_client(struct client *client)
{
	if (client->timer)
		uv_close((uv_handle_t *)client->timer, free_timer);
	LIST_REMOVE(client, all);
	uv_close((uv_handle_t *)&client->stream, on_closed);
	count_close(&counters);
	if (!accepting)
		uv_poll_start(&listener, UV_READABLE, on_listener);
	accepting = true;
}

static void free_timer(uv_handle_t *timer)
{
	free(timer);
}

static void on_closed(uv_handle_t *stream)
{
	struct client *client = client_of(stream);
	conn_drop(&client->conn);
	free(client);
}

static void close_handle(uv_handle_t *handle, void *unused)
{
	(void)unused;
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}
