/* listener_wakeups: several processes wait for one listener. Who wakes when a client connects?
 *
 * In accept() they stand in a queue: the kernel wakes one, the one that has waited longest, and it goes to the
 * end when it comes back. In epoll each has a set of its own, and a listener has news for all of them: the herd
 * wakes, looks again, and one finds the connection; the others go back to sleep without returning from
 * epoll_wait(), so the program does not see it, but pays for it. EPOLLEXCLUSIVE (Linux 4.5) has it wake one.
 * But a place in that queue is taken once, when the listener is added, and kept: it is always the first of
 * those that are asleep. One set shared by all has a queue in which whoever went to sleep last stands in front;
 * being level-triggered it wakes a second one to look, as the first has not accepted yet, unless it is watched
 * with EPOLLET.
 *
 * For each way: `woken`, how often the processes were woken per connection (their voluntary context switches);
 * `told`, how many waits returned; `in_vain`, how many accepts found nothing; `cpu_us`, the CPU that all used.
 * With 32 processes, and one connection at a time, all being asleep before. Then the same with three, for the
 * order in which they are taken, and the busiest one's share.
 * Takes about 0.4 s.
 */
#include "probe.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HERD = 32, HERD_CONNECTIONS = 20, FEW = 3, FEW_CONNECTIONS = 30, SHOWN = 9 };

struct tally { /* the workers write to it */
	atomic_int accepted, told, in_vain;
	atomic_int each[HERD], order[HERD_CONNECTIONS + FEW_CONNECTIONS];
};
static struct tally *tally;

static struct sockaddr_in address;
static int listener, shared_set;
static pid_t workers[HERD];

static int make_set(uint32_t events)
{
	int set = must(epoll_create1(EPOLL_CLOEXEC));
	must(epoll_ctl(set, EPOLL_CTL_ADD, listener, &(struct epoll_event){.events = events}));
	return set;
}

/* The ways of waiting: each returns when there may be a connection. */

static void wait_own_set(void)
{
	static int set;
	if (!set)
		set = make_set(EPOLLIN);
	must(epoll_wait(set, &(struct epoll_event){0}, 1, -1));
}

static void wait_exclusive(void)
{
	static int set;
	if (!set)
		set = make_set(EPOLLIN | EPOLLEXCLUSIVE);
	must(epoll_wait(set, &(struct epoll_event){0}, 1, -1));
}

static void wait_shared_set(void)
{
	must(epoll_wait(shared_set, &(struct epoll_event){0}, 1, -1));
}

enum { BLOCKING, OWN_SETS, EXCLUSIVE, ONE_SET, ONE_SET_EDGE, WAYS };

static const struct way {
	const char *name;
	void (*wait)(void); /* NULL: accept() itself waits */
	uint32_t shared;    /* the events of a set that all share */
} ways[WAYS] = {
	[BLOCKING] = {"accept", NULL, 0},
	[OWN_SETS] = {"own_sets", wait_own_set, 0},
	[EXCLUSIVE] = {"own_sets_exclusive", wait_exclusive, 0},
	[ONE_SET] = {"one_set", wait_shared_set, EPOLLIN},
	[ONE_SET_EDGE] = {"one_set_edge", wait_shared_set, EPOLLIN | EPOLLET},
};

static _Noreturn void work(int number, const struct way *way)
{
	for (;;) {
		if (way->wait) {
			way->wait();
			atomic_fetch_add(&tally->told, 1);
		}
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0) {
			atomic_fetch_add(&tally->in_vain, 1);
			continue;
		}
		close(fd);
		atomic_fetch_add(&tally->each[number], 1);
		atomic_store(&tally->order[atomic_load(&tally->accepted)], number);
		atomic_fetch_add(&tally->accepted, 1);
	}
}

/* The client, and what it asks of the workers. */

static void settle(int count)
{
	for (int i = 0; i < count; i++)
		if (!probe_asleep(workers[i], 1000))
			probe_fail("a worker did not go to sleep within a second");
}

static void start(int count, const struct way *way)
{
	memset(tally, 0, sizeof *tally);
	listener = probe_listen(128, &address);
	probe_nonblock(listener, way->wait != NULL);
	if (way->shared)
		shared_set = make_set(way->shared);
	for (int i = 0; i < count; i++) {
		workers[i] = probe_fork();
		if (workers[i] == 0)
			work(i, way);
		if (!probe_asleep(workers[i], 1000)) /* one after the other, so that they queue in order */
			probe_fail("a worker did not go to sleep within a second");
	}
}

static void stop(int count, const struct way *way)
{
	for (int i = 0; i < count; i++) {
		kill(workers[i], SIGKILL);
		probe_reap(workers[i]);
	}
	close(listener);
	if (way->shared)
		close(shared_set);
}

static long slept(int count)
{
	long sum = 0;
	for (int i = 0; i < count; i++)
		sum += probe_status(workers[i], "voluntary_ctxt_switches");
	return sum;
}

static double cpu_us(int count)
{
	double sum = 0;
	for (int i = 0; i < count; i++) {
		clockid_t clock;
		struct timespec used;
		if (clock_getcpuclockid(workers[i], &clock) != 0)
			probe_fail("a worker has ended");
		must(clock_gettime(clock, &used));
		sum += (double)used.tv_sec * 1e6 + (double)used.tv_nsec / 1e3;
	}
	return sum;
}

static bool all_accepted(void *expected)
{
	return atomic_load(&tally->accepted) >= *(int *)expected;
}

/* Hangs up by a reset: a port in TIME_WAIT would be of no use to anybody. */
static void connect_one(int number)
{
	int fd = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), expected = number + 1;
	struct linger reset = {.l_onoff = 1};
	must(connect(fd, (struct sockaddr *)&address, sizeof address));
	if (!probe_until(all_accepted, &expected, 1000))
		probe_fail("a connection was not accepted within a second");
	must(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset));
	close(fd);
}

struct price {
	double woken, cpu_us;
};

static struct price herd(const struct way *way)
{
	start(HERD, way);
	long slept_before = slept(HERD);
	double cpu_us_before = cpu_us(HERD);
	for (int i = 0; i < HERD_CONNECTIONS; i++) {
		connect_one(i);
		settle(HERD);
	}
	struct price price = {.woken = (double)(slept(HERD) - slept_before) / HERD_CONNECTIONS,
		.cpu_us = (cpu_us(HERD) - cpu_us_before) / HERD_CONNECTIONS};
	facts_open(way->name);
	fact_real("woken", price.woken);
	fact_real("told", (double)atomic_load(&tally->told) / HERD_CONNECTIONS);
	fact_real("in_vain", (double)atomic_load(&tally->in_vain) / HERD_CONNECTIONS);
	fact_real("cpu_us", price.cpu_us);
	facts_close();
	stop(HERD, way);
	return price;
}

static void few(const struct way *way)
{
	int most = 0;
	start(FEW, way);
	for (int i = 0; i < FEW_CONNECTIONS; i++) {
		connect_one(i);
		settle(FEW);
	}
	facts_open(way->name);
	facts_list("first_nine");
	for (int i = 0; i < SHOWN; i++)
		fact_int(NULL, atomic_load(&tally->order[i]));
	facts_close();
	for (int i = 0; i < FEW; i++)
		most = tally->each[i] > most ? tally->each[i] : most;
	fact_real("busiest", (double)most / FEW_CONNECTIONS);
	facts_close();
	stop(FEW, way);
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "",
		"Who of 32, and of 3, processes wakes for a connection: accept(), and epoll in four ways.");
	tally = mmap(NULL, sizeof *tally, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (tally == MAP_FAILED)
		probe_fail("no memory");
	struct price prices[WAYS];
	facts_open("of_32");
	for (int i = 0; i < WAYS; i++)
		prices[i] = herd(&ways[i]);
	facts_open("own_sets_over_exclusive");
	fact_real("woken", prices[OWN_SETS].woken / prices[EXCLUSIVE].woken);
	fact_real("cpu", prices[OWN_SETS].cpu_us / prices[EXCLUSIVE].cpu_us);
	facts_close();
	facts_close();
	facts_open("of_3");
	for (int i = 0; i < WAYS; i++)
		few(&ways[i]);
	facts_close();
	return probe_end();
}
