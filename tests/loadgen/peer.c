/* A peer of known behaviour for the tests of the load generator: an echo server with messages of a fixed size,
 * a blocking thread for each connection, that can be slow in known ways and lie in known ways. It has nothing
 * in common with servers/. First line of stdout: READY port=N. On SIGTERM it prints {"messages": n, "lies": n,
 * "service_ns": n} and ends.
 *
 *   --size BYTES      of a message
 *   --delay NS        a pause before each reply
 *   --service NS      a CPU burn before each reply, one reply at a time (one server, as in M/D/1)
 *   --stall FOR/EVERY seconds: no replies during the first FOR of every EVERY seconds, counted from the first
 * message
 *   --trickle NS      replies leave byte by byte with this pause
 *   --lie KIND        wrong extra short duplicate reorder foreign reset early silent
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
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_SIZE = 65536 };

static size_t size = 64;
static uint64_t delay_ns, service_ns, stall_ns, stall_every_ns, trickle_ns, every = 1;
static const char *lie = "";
static atomic_uint_fast64_t messages, lies, first_ns, served_ns;
static pthread_mutex_t service = PTHREAD_MUTEX_INITIALIZER, last_lock = PTHREAD_MUTEX_INITIALIZER;
static uint8_t last[2][MAX_SIZE]; /* the last message of two different connections, for `foreign` */
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

static bool read_message(int fd, uint8_t *out)
{
	return recv(fd, out, size, MSG_WAITALL) == (ssize_t)size;
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

/* Remembers this message, and gives the last one of another connection; false when there is none yet. */
static bool swap_foreign(int fd, const uint8_t *message, uint8_t *other)
{
	pthread_mutex_lock(&last_lock);
	int mine = last_fd[0] == fd || (last_fd[1] != fd && last_fd[0] < 0) ? 0 : 1;
	bool found = last_fd[!mine] >= 0 && last_fd[!mine] != fd;
	if (found && other)
		memcpy(other, last[!mine], size);
	memcpy(last[mine], message, size);
	last_fd[mine] = fd;
	pthread_mutex_unlock(&last_lock);
	return found;
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
	if (service_ns) {
		pthread_mutex_lock(&service);
		uint64_t begun = now_ns();
		while (now_ns() - begun < service_ns)
			;
		served_ns += now_ns() - begun;
		pthread_mutex_unlock(&service);
	}
}

/* Answers with the lie. False: the connection is over. */
static bool tell_lie(int fd, uint8_t *message)
{
	static const struct linger hard = {.l_onoff = 1};
	uint8_t two[2 * MAX_SIZE];

	memcpy(two, message, size);
	memcpy(two + size, message, size);
	if (strcmp(lie, "foreign") == 0 && !swap_foreign(fd, message, two)) {
		write_bytes(fd, message, size);
		return true; /* there is no other connection yet: the truth */
	}
	if (strcmp(lie, "reorder") == 0) {
		/* Both lie in the socket already when they were sent in one go; else the truth. */
		if (recv(fd, two, size, MSG_DONTWAIT | MSG_PEEK) != (ssize_t)size) {
			write_bytes(fd, message, size);
			return true;
		}
		read_message(fd, two);
		messages++;
		lies++;
	}
	lies++;
	if (strcmp(lie, "silent") == 0)
		return true;
	if (strcmp(lie, "wrong") == 0)
		two[size / 2] ^= 0x20;
	if (strcmp(lie, "early") == 0)
		return false;
	bool half = strcmp(lie, "short") == 0 || strcmp(lie, "reset") == 0;
	bool twice = strcmp(lie, "duplicate") == 0 || strcmp(lie, "reorder") == 0;
	write_bytes(fd, two, half ? size / 2 : twice ? 2 * size : strcmp(lie, "extra") == 0 ? size + 1 : size);
	if (strcmp(lie, "reset") == 0)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	return !half;
}

static void *serve(void *argument)
{
	int fd = (int)(intptr_t)argument;
	uint8_t message[MAX_SIZE];

	while (read_message(fd, message)) {
		uint64_t number = ++messages;
		wait_in_known_ways();
		if (*lie && number % every == 0) {
			if (!tell_lie(fd, message))
				break;
			continue;
		}
		if (strcmp(lie, "foreign") == 0)
			swap_foreign(fd, message, NULL);
		write_bytes(fd, message, size);
	}
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

	if (strcmp(name, "--size") == 0)
		size = strtoull(value, NULL, 10);
	else if (strcmp(name, "--delay") == 0)
		delay_ns = strtoull(value, NULL, 10);
	else if (strcmp(name, "--service") == 0)
		service_ns = strtoull(value, NULL, 10);
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
	printf("{\"messages\": %llu, \"lies\": %llu, \"service_ns\": %llu}\n", (unsigned long long)messages,
		(unsigned long long)lies, (unsigned long long)(messages ? served_ns / messages : 0));
	fflush(stdout);
	_exit(0); /* the threads are still at work */
}
