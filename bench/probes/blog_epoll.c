/* blog_epoll: an event loop that frees a client's data while the kernel still has the pointer. DELIBERATELY
 * FAULTY.
 *
 * The server is the one that "How Does Async / Non-Blocking IO Actually Work?" (2025) builds, written anew from
 * its description: level-triggered epoll; listener, client or timer behind every data.ptr; a client's name is
 * read once, a timer set, the greeting sent when it fires. Its fault is in the order of two lines. When the
 * name has been read, what the client's pointer names is freed, but the client's descriptor stays registered
 * until the timer has fired. A client that says no more is safe. One that shuts its sending side, as `nc -N`
 * does after its input, is readable for good (end of file), so every wait returns at once, with a pointer to
 * freed memory: the loop spins at full speed through the very delay that it was to wait out, on memory that may
 * belong to another by then.
 *
 * Three servers of one client each, side by side: the client keeps its side open; it half-closes; it
 * half-closes and the server takes the descriptor out before it frees (the repair, one line). Then a fourth,
 * where a second client connects behind the half-closed one and is in no hurry to say its name. Its data may be
 * given the freed memory, and then the first client's events read the second one's socket: nothing there yet,
 * which this server takes for a client that left. That is undefined behaviour, a tale and not a law. Under
 * AddressSanitizer the faulty servers die with a report instead.
 *
 * Try: build/probes/blog_epoll
 * Takes about 2 s.
 */
#include "probe.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	DELAY_MS = 1000,
	SECOND_AFTER_MS = 100,
	PATIENCE_MS = 1000, /* beyond the delay */
	NAME = 256,
	EVENTS = 16,
};

enum kind { LISTENER, CLIENT, TIMER };

struct greeting {
	int client_fd;
	char name[NAME];
};

struct watched { /* behind an event's pointer */
	enum kind kind;
	int fd;
	struct greeting *greeting; /* of a timer */
};

static int epoll_fd;
static bool repaired;
static struct seen { /* shared with the probe */
	unsigned long waits;
	uint64_t last_ns; /* when the last one returned */
} * seen;

static void watch(enum kind kind, int fd, struct greeting *greeting)
{
	struct watched *watched = malloc(sizeof *watched);
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = watched};
	if (!watched || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
		_exit(1);
	*watched = (struct watched){kind, fd, greeting};
}

static void accept_client(int listen_fd)
{
	int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK);
	if (fd >= 0)
		watch(CLIENT, fd, NULL);
}

static void read_name(int fd)
{
	char name[NAME] = "";
	if (read(fd, name, sizeof name - 1) <= 0) {
		close(fd);
		return;
	}
	struct greeting *greeting = calloc(1, sizeof *greeting);
	struct itimerspec once = {.it_value = clock_timespec(DELAY_MS * 1000000ULL)};
	int timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	if (!greeting || timer_fd < 0)
		_exit(1);
	greeting->client_fd = fd;
	memcpy(greeting->name, name, strcspn(name, "\r\n"));
	timerfd_settime(timer_fd, 0, &once, NULL);
	watch(TIMER, timer_fd, greeting);
}

static void greet(int timer_fd, struct greeting *greeting)
{
	dprintf(greeting->client_fd, "Hello %s\n", greeting->name);
	close(greeting->client_fd);
	close(timer_fd);
	free(greeting);
}

static _Noreturn void serve(int listen_fd)
{
	epoll_fd = epoll_create1(0);
	watch(LISTENER, listen_fd, NULL);
	for (;;) {
		struct epoll_event events[EVENTS];
		int n = epoll_wait(epoll_fd, events, EVENTS, -1);
		seen->waits++;
		seen->last_ns = clock_now_ns();
		for (int i = 0; i < n; i++) {
			struct watched *watched = events[i].data.ptr;
			switch (watched->kind) {
			case LISTENER:
				accept_client(watched->fd);
				break;
			case CLIENT:
				read_name(watched->fd);
				if (repaired)
					epoll_ctl(epoll_fd, EPOLL_CTL_DEL, watched->fd, NULL);
				free(watched); /* the fault: the kernel goes on to return this pointer */
				break;
			case TIMER:
				greet(watched->fd, watched->greeting);
				free(watched);
				break;
			}
		}
	}
}

/* From here on: the probe. */

struct arm {
	const char *key;
	bool half_closes, repaired, second_comes;
	pid_t server;
	int client_fd, second_fd;
	struct sockaddr_in address;
	struct seen *seen;
	uint64_t start;
};

static uint64_t cpu_ns(pid_t pid)
{
	clockid_t clock;
	struct timespec used;
	if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) != 0)
		return 0; /* it is gone */
	return (uint64_t)used.tv_sec * 1000000000 + (uint64_t)used.tv_nsec;
}

static int client(struct arm *arm)
{
	int fd = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	must(connect(fd, (struct sockaddr *)&arm->address, sizeof arm->address));
	return fd;
}

static void begin(struct arm *arm)
{
	int listen_fd = probe_listen(10, &arm->address);
	arm->seen = mmap(NULL, sizeof *arm->seen, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (arm->seen == MAP_FAILED)
		probe_must("mmap");
	arm->server = probe_fork();
	if (arm->server == 0) {
		seen = arm->seen;
		repaired = arm->repaired;
		if (!freopen("/dev/null", "w", stderr)) /* a sanitizer's report, an allocator's complaint */
			_exit(1);
		serve(listen_fd);
	}
	close(listen_fd);
	arm->client_fd = client(arm);
	must(write(arm->client_fd, "Alice\n", 6));
	if (arm->half_closes)
		must(shutdown(arm->client_fd, SHUT_WR));
	arm->start = clock_now_ns();
}

static void fact_answer(const char *key, int fd, const char *expected)
{
	char answer[NAME];
	ssize_t n = probe_ready(fd, POLLIN, PATIENCE_MS) ? read(fd, answer, sizeof answer) : -1;
	bool right = n == (ssize_t)strlen(expected) && memcmp(answer, expected, strlen(expected)) == 0;
	fact_text(key, right ? "greeted" : n == 0 ? "closed" : n > 0 ? "garbled" : "reset or silent");
}

/* Once the client's wait is over. */
static void show(struct arm *arm)
{
	probe_ready(arm->client_fd, POLLIN, DELAY_MS + PATIENCE_MS);
	double took_s = (double)(arm->seen->last_ns - arm->start) / 1e9;
	double cpu_s = (double)cpu_ns(arm->server) / 1e9;
	double wanted_s = probe_wanted_us(arm->server) / 1e6;
	facts_open(arm->key);
	fact_int("waits", (long long)arm->seen->waits);
	fact_real("waits_per_s", (double)arm->seen->waits / took_s);
	fact_real("cpu_share", cpu_s / took_s);
	fact_real("wanted_cpu_share", wanted_s / took_s);
	fact_answer("first_client", arm->client_fd, "Hello Alice\n");
	if (arm->second_comes)
		fact_answer("second_client", arm->second_fd, "Hello Bob\n");
	int status;
	bool died = must(waitpid(arm->server, &status, WNOHANG)) != 0;
	fact_bool("server_died", died);
	facts_close();
	if (died)
		return;
	kill(arm->server, SIGKILL);
	probe_reap(arm->server);
}

/* It connects, and takes its time to type its name. */
static void second_client(struct arm *arm)
{
	probe_sleep_ms(SECOND_AFTER_MS);
	arm->second_fd = client(arm);
	probe_sleep_ms(SECOND_AFTER_MS);
	ssize_t told = write(arm->second_fd, "Bob\n", 4);
	(void)told; /* if it was dropped already, what it reads will tell */
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "",
		"What a client that half-closes does to the event loop of the async I/O blog post.");
	struct arm one_each[] = {
		{.key = "keeps_open"},
		{.key = "half_closes", .half_closes = true},
		{.key = "half_closes_repaired", .half_closes = true, .repaired = true},
	};
	struct arm with_second = {
		.key = "half_closes_then_second_client", .half_closes = true, .second_comes = true};
	fact_int("delay_ms", DELAY_MS);
	for (int i = 0; i < 3; i++)
		begin(&one_each[i]);
	for (int i = 0; i < 3; i++)
		show(&one_each[i]);
	begin(&with_second); /* by itself: it would take a CPU from the others */
	second_client(&with_second);
	show(&with_second);
	return probe_end();
}
