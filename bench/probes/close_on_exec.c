/* close_on_exec: when a descriptor with that flag is closed, and for whom.
 *
 * Cindy Sridharan ("Nonblocking I/O", 2017) says that descriptors marked close-on-exec are closed in the
 * child, after the fork and before the exec, and that the parent keeps its own.
 *
 * Three pairs of descriptors, one with the flag and one without: a file, a connection from accept4, a
 * listener. A child uses the flagged file between fork and exec; then it becomes another program (this one,
 * told to list what it has). The parent reads on through its own number afterwards. Last, what servers
 * suffer from: a listener without the flag lives on in the program that was started, and so the port stays
 * taken after the server has closed it.
 *
 * Try: build/probes/close_on_exec
 */
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct pair { /* with the flag, and without */
	int closes, stays;
};

/* The other program: it says which of the descriptors named it finds open, as a
 * string of y and n, and holds them until its standard input ends. */
static int other_program(int count, char **numbers)
{
	for (int i = 0; i < count; i++)
		if (write(STDOUT_FILENO, fcntl(atoi(numbers[i]), F_GETFD) >= 0 ? "y" : "n", 1) != 1)
			return 1;
	char end;
	return read(STDIN_FILENO, &end, 1) == 0 ? 0 : 1;
}

static struct pair file_pair(void)
{
	struct pair pair;
	char path[64];
	pair.closes = probe_file();
	must(write(pair.closes, "0123456789", 10));
	snprintf(path, sizeof path, "/proc/self/fd/%d", pair.closes);
	pair.stays = must(open(path, O_RDWR));
	must(lseek(pair.closes, 0, SEEK_SET));
	return pair;
}

static struct pair listener_pair(struct sockaddr_in at[2])
{
	struct pair pair = {probe_listen(5, &at[0]), probe_listen(5, &at[1])};
	must(fcntl(pair.stays, F_SETFD, 0));
	return pair;
}

static int connected_to(struct sockaddr_in *address)
{
	int fd = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	must(connect(fd, (struct sockaddr *)address, sizeof *address));
	return fd;
}

static struct pair accepted_pair(int listener, struct sockaddr_in *address)
{
	connected_to(address);
	connected_to(address);
	struct pair pair = {
		must(accept4(listener, NULL, NULL, SOCK_CLOEXEC)), must(accept(listener, NULL, NULL))};
	return pair;
}

static bool connects(struct sockaddr_in *address)
{
	int fd = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	bool connected = connect(fd, (struct sockaddr *)address, sizeof *address) == 0;
	if (!connected && errno != ECONNREFUSED)
		probe_fail("connect: %s", strerror(errno));
	close(fd);
	return connected;
}

static _Noreturn void become_other(char **words, int input, int output, int file, int window)
{
	char byte;
	bool used = read(file, &byte, 1) == 1; /* the flag is set, and exec has not come yet */
	if (write(window, used ? "y" : "n", 1) != 1 || dup2(input, STDIN_FILENO) < 0 ||
		dup2(output, STDOUT_FILENO) < 0)
		_exit(1);
	execv("/proc/self/exe", words);
	_exit(1);
}

static void show(const char *key, const char *found)
{
	facts_open(key);
	fact_bool("open_with_flag", found[0] == 'y');
	fact_bool("open_without", found[1] == 'y');
	facts_close();
}

int main(int argc, char **argv)
{
	if (argc > 2 && strcmp(argv[1], "--as-other-program") == 0)
		return other_program(argc - 2, argv + 2);
	probe_begin(argc, argv, "",
		"Which descriptors a started program has, with and without "
		"close-on-exec.");
	struct sockaddr_in at[2];
	struct pair file = file_pair(), listener = listener_pair(at),
		    accepted = accepted_pair(listener.closes, &at[0]);
	int held[6] = {
		file.closes, file.stays, accepted.closes, accepted.stays, listener.closes, listener.stays};
	char numbers[6][12], *words[9] = {argv[0], "--as-other-program"}, found[6], byte;
	for (int i = 0; i < 6; i++) {
		snprintf(numbers[i], sizeof numbers[i], "%d", held[i]);
		words[2 + i] = numbers[i];
	}
	int input[2], output[2], window[2];
	must(pipe2(input, O_CLOEXEC));
	must(pipe2(output, O_CLOEXEC));
	must(pipe2(window, O_CLOEXEC));
	pid_t child = probe_fork();
	if (child == 0)
		become_other(words, input[0], output[1], file.closes, window[1]);
	close(window[1]);
	close(output[1]);
	fact_bool("usable_between_fork_and_exec", must(read(window[0], &byte, 1)) == 1 && byte == 'y');
	for (size_t have = 0; have < sizeof found;) {
		ssize_t n = must(read(output[0], found + have, sizeof found - have));
		if (n == 0)
			probe_fail("the other program ended early");
		have += (size_t)n;
	}
	show("file", found);
	show("accepted", found + 2);
	show("listener", found + 4);
	fact_bool("parent_still_reads", must(read(file.closes, &byte, 1)) == 1);

	close(listener.closes);
	close(listener.stays);
	facts_open("after_server_closed_its_listener");
	fact_bool("connects_with_flag", connects(&at[0]));
	fact_bool("connects_without", connects(&at[1]));
	facts_close();
	close(input[1]);
	probe_reap(child);
	fact_bool("connects_after_that_program_ended", connects(&at[1]));
	return probe_end();
}
