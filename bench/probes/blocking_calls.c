/* blocking_calls: a server that serves one client at a time, blocked by a silent client and by a slow reader.
 *
 * "How Does Async / Non-Blocking IO Actually Work?" (2025) says of its first server that it is blocked when
 * it reads from its client and when it writes to it; Cindy Sridharan ("Nonblocking I/O", 2017) warns that a
 * very large write may block.
 *
 * Reading: the server is theirs in four calls: accept, read, write, close. A first client connects and says
 * nothing for PAUSE_MS, a second asks at once: how long until its answer?
 *
 * Writing: one write() of each size on a connection whose peer begins to read after PAUSE_MS. A write ends when
 * the kernel has taken the last byte, not when the peer has it: what fits into the two socket buffers never
 * waits. All sizes run side by side, each on its own connection; then the same on nonblocking descriptors,
 * which take what fits, and say how much that was.
 *
 * Try: build/probes/blocking_calls
 * Takes about 1.3 s.
 */
#include "probe.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	PAUSE_MS = 1000,
	APART_MS = 10,      /* between two writes, which must not wait for each other's CPU */
	GRACE_MS = 50,      /* for a first client to be accepted first */
	PROMPT_US = 500000, /* what waits for PAUSE_MS takes longer, what does not takes far less */
};

static const size_t sizes[] = {
	100, 1 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

static char *bytes; /* as many as the largest */

struct transfer {
	size_t size, taken;
	int writer_fd, reader_fd;
	double write_us;
};

static void *serve_two(void *listener)
{
	for (int i = 0; i < 2; i++) {
		char name[64];
		int client = must(accept(*(int *)listener, NULL, NULL));
		if (read(client, name, sizeof name) > 0)
			must(write(client, "Hello\n", 6));
		close(client);
	}
	return NULL;
}

static int connected(struct sockaddr_in *address)
{
	int fd = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	must(connect(fd, (struct sockaddr *)address, sizeof *address));
	return fd;
}

/* Runs beside the writes, so that the two pauses are one. */
static void *ask_behind_a_silent_client(void *waited_us)
{
	char answer[8];
	struct sockaddr_in address;
	int listener = probe_listen(8, &address);
	pthread_t server = probe_thread(serve_two, &listener);
	int silent = connected(&address);
	probe_sleep_ms(GRACE_MS);
	int second = connected(&address);
	uint64_t start = clock_now_ns();
	must(write(second, "Bob\n", 4));
	probe_ready(second, POLLIN, PAUSE_MS);
	close(silent);
	must(read(second, answer, sizeof answer));
	*(double *)waited_us = probe_us_since(start);
	pthread_join(server, NULL);
	return NULL;
}

static void *write_once(void *argument)
{
	struct transfer *transfer = argument;
	uint64_t start = clock_now_ns();
	transfer->taken = (size_t)must(write(transfer->writer_fd, bytes, transfer->size));
	transfer->write_us = probe_us_since(start);
	shutdown(transfer->writer_fd, SHUT_WR);
	return NULL;
}

static void read_to_the_end(int fd)
{
	static char sink[1 << 20];
	while (must(read(fd, sink, sizeof sink)) > 0)
		continue;
}

static void show_writes(const char *key, bool nonblocking)
{
	struct transfer transfers[SIZES];
	pthread_t writers[SIZES];
	size_t largest_prompt = 0;
	for (int i = 0; i < SIZES; i++) {
		int pair[2];
		probe_tcp_pair(pair);
		probe_nonblock(pair[0], nonblocking);
		transfers[i] = (struct transfer){.size = sizes[i], .writer_fd = pair[0], .reader_fd = pair[1]};
		writers[i] = probe_thread(write_once, &transfers[i]);
		probe_sleep_ms(APART_MS);
	}
	if (!nonblocking)
		probe_sleep_ms(PAUSE_MS);
	for (int i = 0; i < SIZES; i++) {
		read_to_the_end(transfers[i].reader_fd);
		pthread_join(writers[i], NULL);
		close(transfers[i].reader_fd);
		close(transfers[i].writer_fd);
	}
	facts_open(key);
	for (int i = 0; i < SIZES; i++) {
		char name[32];
		snprintf(name, sizeof name, "%zu", sizes[i]);
		facts_open(name);
		fact_real("write_us", transfers[i].write_us);
		fact_bool("waits", transfers[i].write_us > PROMPT_US);
		fact_int("taken", (long long)transfers[i].taken);
		facts_close();
		if (transfers[i].write_us <= PROMPT_US && transfers[i].taken == sizes[i])
			largest_prompt = sizes[i];
	}
	fact_int("largest_taken_at_once", (long long)largest_prompt);
	facts_close();
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "", "How long a read and a write make a blocking server wait for its client.");
	double waited_us;
	bytes = mmap(NULL, sizes[SIZES - 1], PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (bytes == MAP_FAILED)
		probe_must("mmap");
	pthread_t asking = probe_thread(ask_behind_a_silent_client, &waited_us);
	facts_open("write");
	show_writes("blocking", false);
	show_writes("nonblocking", true);
	facts_close();
	pthread_join(asking, NULL);
	facts_open("read");
	fact_int("silent_ms", PAUSE_MS);
	fact_real("second_client_waited_ms", waited_us / 1e3);
	facts_close();
	return probe_end();
}
