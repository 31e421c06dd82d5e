/* The wait alone: N descriptors watched, M of them ready, in one process and without TCP.
 *
 * A round has four parts, each timed: something is written to M descriptors, waits tell which, they are read,
 * and where a way of waiting has to be asked again, it is. Writing is timed, too, because completions and
 * signals are prepared there. What the waits told is compared with what was written, after every round.
 * Nothing ever blocks: all is there before the wait begins, so this is the price of asking, not of sleeping.
 *
 * Prints one JSON object: for each part the median and the quartiles over the rounds, in ns per round, with the
 * cost of reading the clock still in it. bench/micro.py draws the curves.
 * Try: build/micro --way poll --watched 1000 --ready 1
 */
#include "waits.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS_MIN = 20, ROUNDS_MAX = 200000, WATCHED_MAX = 100000 };

const struct way *const all_ways[] = {&way_select, &way_poll, &way_ppoll, &way_epoll_lt, &way_epoll_et,
	&way_epoll_oneshot, &way_io_uring, &way_io_uring_multishot, &way_linux_aio, &way_sigio};
enum { WAYS = sizeof all_ways / sizeof *all_ways };

enum part { WRITE, WAIT, READ, AGAIN, PARTS };
static const char *const part_names[PARTS] = {"write", "wait", "read", "again"};

enum place { SPREAD, FIRST, LAST };
static const char *const place_names[] = {"spread", "first", "last"};

struct plan {
	const struct way *way;
	bool sockets; /* socketpairs instead of pipes */
	enum place place;
	unsigned watched, ready;
	uint64_t budget_ns;
};

struct pairs { /* what is written to, and what is watched */
	int *in, *out;
};

_Noreturn static void stop(int status, const char *what)
{
	fprintf(stderr, "micro: %s: %s\n", what, strerror(errno));
	exit(status);
}

void fail(const char *what)
{
	stop(1, what);
}

void cannot(const char *what)
{
	stop(77, what);
}

void *zeroed(size_t count, size_t size)
{
	void *memory = calloc(count, size);
	if (!memory)
		fail("memory");
	return memory;
}

static uint64_t now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static _Noreturn void usage(const char *what, const char *word)
{
	fprintf(stderr, "micro: %s%s%s; see --help\n", what, word ? " " : "", word ? word : "");
	exit(2);
}

static unsigned number(const char *option, const char *text, unsigned long most)
{
	char *end;
	errno = 0;
	unsigned long value = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || value < 1 || value > most) {
		fprintf(stderr, "micro: %s: expected a whole number from 1 to %lu, got %s\n", option, most,
			text);
		exit(2);
	}
	return (unsigned)value;
}

static const struct way *find_way(const char *name)
{
	for (size_t i = 0; i < WAYS; i++)
		if (strcmp(all_ways[i]->name, name) == 0)
			return all_ways[i];
	usage("--way: there is no", name);
}

static enum place find_place(const char *name)
{
	for (unsigned i = 0; i < 3; i++)
		if (strcmp(place_names[i], name) == 0)
			return (enum place)i;
	usage("--place: expected spread, first or last, not", name);
}

static void list_ways(void)
{
	for (size_t i = 0; i < WAYS; i++)
		printf("%-20s %s\n", all_ways[i]->name, all_ways[i]->what);
	exit(0);
}

static void help(void)
{
	puts("micro: times one way of waiting, alone: N descriptors watched, M of them ready\n"
	     "  --way NAME        which way; --list names them\n"
	     "  --watched N       descriptors watched (default 1000)\n"
	     "  --ready M         of which so many are ready in each round (default 1)\n"
	     "  --kind KIND       pipe or socketpair (default socketpair)\n"
	     "  --place PLACE     the ready ones: spread, first or last (default spread)\n"
	     "  --for MS          how long, in milliseconds (default 50); at least 20 rounds\n"
	     "  --list, --help\n"
	     "Exit status: 0 measured, 1 failed, 2 usage, 77 this host has no such way of waiting.");
	exit(0);
}

static struct plan parse(int argc, char **argv)
{
	enum { WAY = 256, WATCHED, READY, KIND, PLACE, FOR, LIST, HELP };
	static const struct option known[] = {{"way", 1, NULL, WAY}, {"watched", 1, NULL, WATCHED},
		{"ready", 1, NULL, READY}, {"kind", 1, NULL, KIND}, {"place", 1, NULL, PLACE},
		{"for", 1, NULL, FOR}, {"list", 0, NULL, LIST}, {"help", 0, NULL, HELP}, {NULL, 0, NULL, 0}};
	struct plan plan = {.sockets = true, .watched = 1000, .ready = 1, .budget_ns = 50000000};
	for (int option; (option = getopt_long(argc, argv, "", known, NULL)) >= 0;) {
		if (option == WAY)
			plan.way = find_way(optarg);
		else if (option == WATCHED)
			plan.watched = number("--watched", optarg, WATCHED_MAX);
		else if (option == READY)
			plan.ready = number("--ready", optarg, WATCHED_MAX);
		else if (option == KIND && strcmp(optarg, "pipe") == 0)
			plan.sockets = false;
		else if (option == KIND && strcmp(optarg, "socketpair") != 0)
			usage("--kind: expected pipe or socketpair, not", optarg);
		else if (option == PLACE)
			plan.place = find_place(optarg);
		else if (option == FOR)
			plan.budget_ns = (uint64_t)number("--for", optarg, 60000) * 1000000;
		else if (option == LIST)
			list_ways();
		else if (option == HELP)
			help();
		else if (option == '?')
			exit(2);
	}
	if (optind < argc)
		usage("there is no argument", argv[optind]);
	if (!plan.way)
		usage("--way is missing", NULL);
	if (plan.ready > plan.watched)
		usage("--ready exceeds --watched", NULL);
	return plan;
}

/* The watched ends get adjacent low numbers, as a server's would be: select and poll look at what lies between.
 */
static struct pairs open_pairs(const struct plan *plan)
{
	struct rlimit limit;
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (2UL * plan->watched + 16 > limit.rlim_max) {
		fprintf(stderr, "micro: --watched %u needs %lu descriptors and the limit is %lu: at most %lu\n",
			plan->watched, 2UL * plan->watched + 16, (unsigned long)limit.rlim_max,
			(unsigned long)(limit.rlim_max - 16) / 2);
		exit(2);
	}
	struct pairs pairs = {zeroed(plan->watched, sizeof(int)), zeroed(plan->watched, sizeof(int))};
	int far = (int)plan->watched + 8; /* beyond all watched ones */
	for (unsigned i = 0; i < plan->watched; i++) {
		int ends[2];
		if ((plan->sockets ? socketpair(AF_UNIX, SOCK_STREAM, 0, ends) : pipe(ends)) != 0)
			fail(plan->sockets ? "socketpair" : "pipe");
		pairs.out[i] = ends[0];
		pairs.in[i] = fcntl(ends[1], F_DUPFD, far);
		if (pairs.in[i] < 0)
			fail("dup");
		close(ends[1]);
		fcntl(pairs.in[i], F_SETFL, O_NONBLOCK);
		fcntl(pairs.out[i], F_SETFL, O_NONBLOCK);
	}
	return pairs;
}

/* A shuffle's first steps; xorshift (Marsaglia 2003) with a fixed seed, so that every way gets the same. */
static void choose(const struct plan *plan, unsigned *order)
{
	static uint64_t state = 88172645463325252;
	for (unsigned i = 0; plan->place == SPREAD && i < plan->ready; i++) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		unsigned other = i + (unsigned)(state % (plan->watched - i)), kept = order[i];
		order[i] = order[other];
		order[other] = kept;
	}
}

static void check(const struct plan *plan, const unsigned *chosen, const unsigned *told, uint8_t *seen)
{
	for (unsigned i = 0; i < plan->ready; i++)
		seen[chosen[i]] = 1;
	for (unsigned i = 0; i < plan->ready; i++)
		if (!seen[told[i]]--) {
			fprintf(stderr, "micro: %s told descriptor %u, which was not ready, or told it twice\n",
				plan->way->name, told[i]);
			exit(1);
		}
}

static void round_once(const struct plan *plan, const struct pairs *pairs, const unsigned *chosen,
	unsigned *told, uint64_t ns[PARTS])
{
	uint64_t begun = now();
	for (unsigned i = 0; i < plan->ready; i++)
		if (write(pairs->in[chosen[i]], "x", 1) != 1)
			fail("write");
	uint64_t written = now();
	for (unsigned found = 0; found < plan->ready;)
		found += plan->way->wait(told + found, plan->ready - found);
	uint64_t waited = now();
	for (unsigned i = 0; i < plan->ready; i++)
		if (read(pairs->out[told[i]], (char[8]){0}, 8) != 1)
			fail("read of a descriptor that was told to be ready");
	uint64_t has_read = now();
	if (plan->way->again)
		plan->way->again(told, plan->ready);
	ns[AGAIN] = now() - has_read;
	ns[READ] = has_read - waited;
	ns[WAIT] = waited - written;
	ns[WRITE] = written - begun;
}

static int by_size(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
	return (left > right) - (left < right);
}

static double clock_cost(void)
{
	enum { READINGS = 1000 };
	uint64_t begun = now();
	for (int i = 0; i < READINGS; i++)
		now();
	return (double)(now() - begun) / (READINGS + 1);
}

static void print_part(const char *name, uint64_t *ns, size_t rounds)
{
	qsort(ns, rounds, sizeof *ns, by_size);
	printf(",\"%s_ns\":{\"p25\":%ju,\"p50\":%ju,\"p75\":%ju}", name, (uintmax_t)ns[rounds / 4],
		(uintmax_t)ns[rounds / 2], (uintmax_t)ns[rounds * 3 / 4]);
}

int main(int argc, char **argv)
{
	struct plan plan = parse(argc, argv);
	struct pairs pairs = open_pairs(&plan);
	unsigned *order = zeroed(plan.watched, sizeof *order), *told = zeroed(plan.watched, sizeof *told);
	uint8_t *seen = zeroed(plan.watched, 1);
	uint64_t *ns[PARTS];
	for (enum part part = WRITE; part < PARTS; part++)
		ns[part] = zeroed(ROUNDS_MAX, sizeof **ns);
	for (unsigned i = 0; i < plan.watched; i++)
		order[i] = plan.place == LAST ? plan.watched - 1 - i : i;

	uint64_t begun = now();
	plan.way->watch(pairs.out, plan.watched);
	uint64_t watching = now() - begun;

	size_t rounds = 0;
	uint64_t warm = now() + plan.budget_ns / 5, end = warm + plan.budget_ns;
	for (uint64_t time; rounds < ROUNDS_MAX && ((time = now()) < end || rounds < ROUNDS_MIN);) {
		uint64_t parts[PARTS];
		choose(&plan, order);
		round_once(&plan, &pairs, order, told, parts);
		check(&plan, order, told, seen);
		if (time < warm)
			continue;
		for (enum part part = WRITE; part < PARTS; part++)
			ns[part][rounds] = parts[part];
		rounds++;
	}

	begun = now();
	plan.way->unwatch();
	uint64_t unwatching = now() - begun;
	printf("{\"way\":\"%s\",\"kind\":\"%s\",\"place\":\"%s\",\"watched\":%u,\"ready\":%u,\"rounds\":%zu",
		plan.way->name, plan.sockets ? "socketpair" : "pipe", place_names[plan.place], plan.watched,
		plan.ready, rounds);
	printf(",\"clock_ns\":%.1f,\"watch_ns\":%ju,\"unwatch_ns\":%ju", clock_cost(), (uintmax_t)watching,
		(uintmax_t)unwatching);
	for (enum part part = WRITE; part < PARTS; part++)
		print_part(part_names[part], ns[part], rounds);
	puts("}");
	return 0;
}
