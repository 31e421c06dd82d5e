/* descriptors: the lowest free number, of this process alone; and who gives a process 0, 1 and 2.
 *
 * "How Does Async / Non-Blocking IO Actually Work?" (2025) says that a descriptor's number is unique within
 * its process, and that every process begins with 0, 1 and 2; there, a file and then a socket get the
 * numbers 3 and 4.
 *
 * A child with nothing open but 0, 1 and 2 opens in that order and gets 3 and 4; what it closes is given out
 * next. Two children open different files under one number. That a process has 0, 1 and 2 is what its parent
 * does, not the kernel: they are inherited like all others. A program started with 0 closed has none, and its
 * first socket becomes its standard input.
 *
 * Try: build/probes/descriptors, and ls -l /proc/self/fd
 */
#include "probe.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct numbers {
	int file, socket, again;
	ino_t inode;
};

/* In a process of its own, so that nothing of ours is in the way. */
static struct numbers open_in_child(const char *path)
{
	int report[2];
	struct numbers numbers = {0};
	must(pipe2(report, O_CLOEXEC));
	pid_t child = probe_fork();
	if (child == 0) {
		struct stat status;
		must(dup2(report[1], STDOUT_FILENO));
		must(close_range(3, ~0U, 0));
		numbers.file = must(open(path, O_RDONLY));
		numbers.socket = must(socket(AF_INET, SOCK_STREAM, 0));
		must(fstat(numbers.file, &status));
		numbers.inode = status.st_ino;
		must(close(numbers.file));
		numbers.again = must(socket(AF_INET, SOCK_STREAM, 0));
		_exit(write(STDOUT_FILENO, &numbers, sizeof numbers) == sizeof numbers ? 0 : 1);
	}
	close(report[1]);
	if (must(read(report[0], &numbers, sizeof numbers)) != sizeof numbers)
		probe_fail("a child that opens a file and a socket does not answer");
	close(report[0]);
	probe_reap(child);
	return numbers;
}

/* What the started program says by its exit status: the number of its first socket, and whether it found 0
 * open. */
enum { HAD_0 = 64 };

static int started_program(void)
{
	bool had_0 = fcntl(STDIN_FILENO, F_GETFD) >= 0;
	return must(socket(AF_INET, SOCK_STREAM, 0)) | (had_0 ? HAD_0 : 0);
}

static void show_start(const char *key, bool with_0, char *own_name)
{
	pid_t child = probe_fork();
	if (child == 0) {
		char *words[] = {own_name, "--as-started-program", NULL};
		must(close_range(with_0 ? 3 : 0, ~0U, 0));
		execv("/proc/self/exe", words);
		_exit(255);
	}
	int status = probe_reap(child);
	if (!WIFEXITED(status) || WEXITSTATUS(status) == 255)
		probe_fail("a started program does not answer");
	facts_open(key);
	fact_bool("finds_0_open", WEXITSTATUS(status) & HAD_0);
	fact_int("first_socket", WEXITSTATUS(status) & ~HAD_0);
	facts_close();
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "--as-started-program") == 0)
		return started_program();
	probe_begin(argc, argv, "",
		"Which numbers descriptors get, and whether a process always starts with 0, 1, 2.");
	struct numbers one = open_in_child("/proc/self/exe"), other = open_in_child("/dev/null");
	facts_list("file_then_socket");
	fact_int(NULL, one.file);
	fact_int(NULL, one.socket);
	facts_close();
	fact_int("first_after_closing_the_file", one.again);
	fact_bool("two_processes_get_the_same_number", one.file == other.file);
	fact_bool("for_the_same_object", one.inode == other.inode);
	facts_open("started");
	show_start("as_usual", true, argv[0]);
	show_start("with_0_closed", false, argv[0]);
	facts_close();
	return probe_end();
}
