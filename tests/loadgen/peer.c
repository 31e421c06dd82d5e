/* A peer of known behaviour for the tests of the load generator: a server of echo (messages of a fixed size) or
 * of frame, with a blocking thread for each connection, that can be slow in known ways and lie in known ways.
 * It has nothing in common with servers/. First line of stdout: READY port=N. On SIGTERM it prints
 * {"messages": n, "lies": n, "arrivals_ns": [...]} and ends.
 *
 *   --protocol P      echo (the default) or frame
 *   --size BYTES      of a message of echo
 *   --delay NS        a pause before each reply, beside the one that a frame asks for
 *   --service NS      one server for all connections, as in M/D/1: each reply leaves so long after the later of
 *                     its request's arrival and the reply before it. That is computed, and then slept until: a
 *                     sleep that ends late delays one reply and not the queue behind it, so that a crowded host
 *                     hardly changes the queue
 *   --arrivals N      tell when the first N messages arrived
 *   --stall FOR/EVERY seconds: no replies during the first FOR of every EVERY seconds, from the first message
 * on
 *   --trickle NS      replies leave byte by byte with this pause
 *   --lie KIND        wrong extra short duplicate reorder foreign reset early silent; of frame also hasty (the
 *                     delay is not waited for), head (a field that must be zero is not) and promise (the head
 *                     promises a byte too many)
 *   --every N         each N-th message of all is answered with the lie; reorder swaps it with the next one */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_SIZE = 65536, MAX_REPLY = 1 << 20, FRAME_HEAD = 16, FRAME_CLOSE = 1 };

/* A request that was read, as far as it matters, and its reply. */
struct message {
	uint64_t wait_ns, work_ns; /* what a frame asks for */
	bool close;
	size_t length;
	uint8_t reply[2 * MAX_REPLY]; /* room for a lie that adds to it */
};

static size_t size = 64;
static bool frames;
static uint64_t delay_ns, service_ns, stall_ns, stall_every_ns, trickle_ns, every = 1;
static const char *lie = "";
static atomic_uint_fast64_t messages, lies, first_ns;
static uint64_t free_ns; /* under `service`: when the one server has done all it has taken */
static uint64_t *arrivals, arrivals_kept;
static pthread_mutex_t service = PTHREAD_MUTEX_INITIALIZER, last_lock = PTHREAD_MUTEX_INITIALIZER;
static struct message last[2]; /* the last reply on two different connections, for `foreign` */
static int last_fd[2] = {-1, -1};

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void pause_ns(uint64_t ns)
{
	struct timespec t = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
	while (clock_nanosleep(CLOCK_MONOTONIC, 0, &t, &t) == EINTR)
		;
}

static uint32_t number(const uint8_t *at, int bytes)
{
	uint32_t value = 0;

	for (int i = 0; i < bytes; i++)
		value = value << 8 | at[i];
	return value;
}

static bool read_bytes(int fd, uint8_t *out, size_t n)
{
	return n == 0 || recv(fd, out, n, MSG_WAITALL) == (ssize_t)n;
}

/* As docs/protocols.md has it; false also for what no frame can say. */
static bool read_frame(int fd, struct message *m)
{
	uint8_t head[FRAME_HEAD], payload[MAX_SIZE];

	if (!read_bytes(fd, head, sizeof(head)) || !read_bytes(fd, payload, number(head + 4, 2)))
		return false;
	uint32_t reply = number(head, 4), id = number(head + 12, 4);
	if (reply > MAX_REPLY - FRAME_HEAD || head[8] > FRAME_CLOSE)
		return false;
	m->work_ns = number(head + 6, 2) * UINT64_C(1000);
	m->wait_ns = number(head + 9, 3) * UINT64_C(1000);
	m->close = head[8] == FRAME_CLOSE;
	m->length = FRAME_HEAD + reply;
	memset(m->reply, 0, FRAME_HEAD);
	memcpy(m->reply, head, 4);
	memcpy(m->reply + 12, head + 12, 4);
	for (uint32_t k = 0; k < reply; k++)
		m->reply[FRAME_HEAD + k] =
			(uint8_t) "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[(id + k) %
												     64];
	return true;
}

static bool read_message(int fd, struct message *m)
{
	if (frames)
		return read_frame(fd, m);
	m->wait_ns = m->work_ns = 0;
	m->close = false;
	m->length = size;
	return read_bytes(fd, m->reply, size);
}

/* Does a whole message lie in the socket? */
static bool has_message(int fd)
{
	uint8_t head[FRAME_HEAD];
	int there = 0;

	if (ioctl(fd, FIONREAD, &there) < 0)
		return false;
	if (!frames)
		return there >= (int)size;
	return recv(fd, head, sizeof(head), MSG_DONTWAIT | MSG_PEEK) == (ssize_t)sizeof(head) &&
	       there >= FRAME_HEAD + (int)number(head + 4, 2);
}

static void write_bytes(int fd, const uint8_t *bytes, size_t n)
{
	while (n > 0) {
		size_t part = trickle_ns ? 1 : n;
		ssize_t sent = send(fd, bytes, part, MSG_NOSIGNAL);
		if (sent <= 0)
			return;
		bytes += sent;
		n -= (size_t)sent;
		if (trickle_ns)
			pause_ns(trickle_ns);
	}
}

static void copy_message(struct message *to, const struct message *from)
{
	to->length = from->length;
	memcpy(to->reply, from->reply, from->length);
}

/* Remembers this reply, and gives the last one of another connection; false when there is none yet. */
static bool swap_foreign(int fd, const struct message *mine, struct message *other)
{
	pthread_mutex_lock(&last_lock);
	int place = last_fd[0] == fd || (last_fd[1] != fd && last_fd[0] < 0) ? 0 : 1;
	bool found = last_fd[!place] >= 0 && last_fd[!place] != fd;
	if (found && other)
		copy_message(other, &last[!place]);
	copy_message(&last[place], mine);
	last_fd[place] = fd;
	pthread_mutex_unlock(&last_lock);
	return found;
}

static void burn_ns(uint64_t ns)
{
	uint64_t begun = now_ns();

	while (now_ns() - begun < ns)
		;
}

/* Waits for the one server; true service times, however late this thread wakes up. */
static void be_served(uint64_t arrived_ns)
{
	pthread_mutex_lock(&service);
	free_ns = (arrived_ns > free_ns ? arrived_ns : free_ns) + service_ns;
	uint64_t done_ns = free_ns;
	pthread_mutex_unlock(&service);
	struct timespec done = {(time_t)(done_ns / 1000000000u), (long)(done_ns % 1000000000u)};
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &done, NULL) == EINTR)
		;
}

static void wait_in_known_ways(void)
{
	uint64_t now = now_ns(), none = 0;

	if (delay_ns)
		pause_ns(delay_ns);
	if (stall_ns) {
		atomic_compare_exchange_strong(&first_ns, &none, now);
		uint64_t into = (now - first_ns) % stall_every_ns;
		if (into < stall_ns)
			pause_ns(stall_ns - into);
	}
	if (service_ns)
		be_served(now);
}

static void do_as_asked(const struct message *m)
{
	if (m->wait_ns)
		pause_ns(m->wait_ns);
	if (m->work_ns)
		burn_ns(m->work_ns);
}

static bool lie_is(const char *name)
{
	return strcmp(lie, name) == 0;
}

/* Answers with two messages in the wrong order, if the second lies in the socket already; else with the truth.
 */
static void reorder(int fd, struct message *m, struct message *next)
{
	bool both = has_message(fd) && read_message(fd, next);

	if (both) {
		messages++;
		lies += 2;
		write_bytes(fd, next->reply, next->length);
	}
	write_bytes(fd, m->reply, m->length);
}

/* Answers with the lie, or with the truth where this lie is not possible now. False: the connection is over. */
static bool tell_lie(int fd, struct message *m, struct message *other)
{
	static const struct linger hard = {.l_onoff = 1};
	bool half = lie_is("short") || lie_is("reset");

	if (lie_is("reorder")) {
		reorder(fd, m, other);
		return true;
	}
	if (lie_is("foreign") && !swap_foreign(fd, m, other)) {
		write_bytes(fd, m->reply, m->length);
		return true;
	}
	lies++;
	if (lie_is("silent") || lie_is("early"))
		return lie_is("silent");
	if (lie_is("wrong"))
		m->reply[m->length / 2] ^= 0x20;
	if (lie_is("head"))
		m->reply[9] = 1;
	if (lie_is("promise"))
		m->reply[3]++;
	/* In one piece, so that no request comes between. */
	size_t more = lie_is("duplicate") ? m->length : lie_is("extra");
	memcpy(m->reply + m->length, m->reply, more);
	write_bytes(fd, lie_is("foreign") ? other->reply : m->reply, half ? m->length / 2 : m->length + more);
	if (lie_is("reset"))
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	return !half;
}

/* False: the connection is over. */
static bool answer(int fd, struct message *m, struct message *other)
{
	uint64_t turn = ++messages;

	if (turn <= arrivals_kept)
		arrivals[turn - 1] = now_ns();
	bool lies_now = *lie && turn % every == 0;

	wait_in_known_ways();
	if (!(lies_now && lie_is("hasty")))
		do_as_asked(m);
	if (lies_now)
		return tell_lie(fd, m, other);
	if (lie_is("foreign"))
		swap_foreign(fd, m, NULL);
	write_bytes(fd, m->reply, m->length);
	return !m->close;
}

static void *serve(void *argument)
{
	int fd = (int)(intptr_t)argument;
	struct message *two = malloc(2 * sizeof(*two)); /* pages that no message reaches are never touched */

	while (two && read_message(fd, &two[0]) && answer(fd, &two[0], &two[1]))
		;
	free(two);
	close(fd);
	return NULL;
}

static void *accept_all(void *argument)
{
	int listen_fd = (int)(intptr_t)argument;
	pthread_attr_t small;

	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 512 * 1024);
	pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
	for (;;) {
		pthread_t thread;
		int fd = accept(listen_fd, NULL, NULL);
		if (fd < 0)
			continue;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
		if (pthread_create(&thread, &small, serve, (void *)(intptr_t)fd) != 0)
			close(fd);
	}
	return NULL;
}

static int listen_somewhere(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) < 0 || listen(fd, SOMAXCONN) < 0 ||
		getsockname(fd, (struct sockaddr *)&address, &length) < 0) {
		perror("peer");
		exit(1);
	}
	printf("READY port=%d\n", ntohs(address.sin_port));
	fflush(stdout);
	return fd;
}

static bool read_option(const char *name, const char *value)
{
	double stall, stall_every;

	if (strcmp(name, "--protocol") == 0)
		frames = strcmp(value, "frame") == 0;
	else if (strcmp(name, "--size") == 0)
		size = strtoull(value, NULL, 10);
	else if (strcmp(name, "--delay") == 0)
		delay_ns = strtoull(value, NULL, 10);
	else if (strcmp(name, "--service") == 0)
		service_ns = strtoull(value, NULL, 10);
	else if (strcmp(name, "--arrivals") == 0)
		arrivals = calloc(arrivals_kept = strtoull(value, NULL, 10), sizeof(*arrivals));
	else if (strcmp(name, "--trickle") == 0)
		trickle_ns = strtoull(value, NULL, 10);
	else if (strcmp(name, "--lie") == 0)
		lie = value;
	else if (strcmp(name, "--every") == 0)
		every = strtoull(value, NULL, 10);
	else if (strcmp(name, "--stall") == 0 && sscanf(value, "%lf/%lf", &stall, &stall_every) == 2)
		stall_ns = (uint64_t)(stall * 1e9), stall_every_ns = (uint64_t)(stall_every * 1e9);
	else
		return false;
	return size > 0 && size <= MAX_SIZE && every > 0;
}

int main(int argc, char **argv)
{
	sigset_t stop;
	pthread_t acceptor;
	int signal_number;

	for (int i = 1; i < argc; i += 2) {
		if (i + 1 == argc || !read_option(argv[i], argv[i + 1])) {
			fprintf(stderr, "peer: %s: bad usage\n", argv[i]);
			return 2;
		}
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_TIMERSLACK, 1UL);
	sigemptyset(&stop);
	sigaddset(&stop, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &stop, NULL);
	pthread_create(&acceptor, NULL, accept_all, (void *)(intptr_t)listen_somewhere());
	sigwait(&stop, &signal_number);
	printf("{\"messages\": %llu, \"lies\": %llu, \"arrivals_ns\": [", (unsigned long long)messages,
		(unsigned long long)lies);
	for (uint64_t i = 0; i < arrivals_kept && i < messages; i++)
		printf("%s%llu", i ? ", " : "", (unsigned long long)arrivals[i]);
	printf("]}\n");
	fflush(stdout);
	_exit(0); /* the threads are still at work */
}
