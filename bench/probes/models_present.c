/* models_present: is every way of waiting that has a name built here?
 *
 * Not about the kernel but about this suite: a claim that compares ways of waiting needs a server for each. For
 * every way that the source documents name, the page looks for a server of that kind beside itself, in
 * ../servers, starts it with --describe, and tells whether it answers. What needs a library that a host lacks
 * is left out of the build, and so is not answered here.
 */
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SERVERS_MOST = 4 };

/* The documents' words, and our servers that show it: any of them will do. */
static const struct way {
	const char *name;
	const char *servers[SERVERS_MOST];
} ways[] = {
	{"blocking", {"blocking"}},
	{"thread_per_connection", {"thread_per_conn"}},
	{"thread_pool", {"thread_pool"}},
	{"non_blocking", {"busy_poll"}},
	{"signal_driven", {"sigio"}},
	{"select", {"select"}},
	{"poll", {"poll"}},
	{"epoll", {"epoll_lt", "epoll_et"}},
	{"kevent", {"kqueue"}},
	{"posix_aio", {"posix_aio"}},
	{"linux_aio", {"linux_aio"}},
};

static char folder[PATH_MAX];

static void find_folder(void)
{
	char own[PATH_MAX];
	ssize_t length = must(readlink("/proc/self/exe", own, sizeof own - 1));
	own[length] = '\0';
	if (snprintf(folder, sizeof folder, "%s/../servers", dirname(own)) >= (int)sizeof folder)
		probe_fail("the path to %s is too long", own);
	if (access(folder, X_OK) != 0)
		probe_skip("%s: %s; build the servers with make", folder, strerror(errno));
}

/* It says who it is, as JSON, and ends. */
static bool describes_itself(const char *server)
{
	char path[PATH_MAX + 64], text[4096];
	int said[2], status;
	snprintf(path, sizeof path, "%s/%s", folder, server);
	if (access(path, X_OK) != 0)
		return false;
	must(pipe(said));
	pid_t child = probe_fork();
	if (child == 0) {
		dup2(said[1], STDOUT_FILENO);
		close(said[0]);
		close(said[1]);
		execl(path, server, "--describe", (char *)NULL);
		_exit(1);
	}
	close(said[1]);
	ssize_t length = probe_ready(said[0], POLLIN, 1000) ? read(said[0], text, sizeof text) : 0;
	status = probe_reap(child);
	close(said[0]);
	return length > 0 && text[0] == '{' && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool is_present(const struct way *way)
{
	for (int i = 0; i < SERVERS_MOST && way->servers[i]; i++)
		if (describes_itself(way->servers[i]))
			return true;
	return false;
}

int main(int argc, char **argv)
{
	int present = 0, named = sizeof ways / sizeof *ways;
	probe_begin(argc, argv, "",
		"Which of the ways of waiting that the source documents name have a server here.");
	find_folder();
	facts_open("servers");
	for (int i = 0; i < named; i++) {
		bool found = is_present(&ways[i]);
		fact_bool(ways[i].name, found);
		present += found;
	}
	facts_close();
	fact_int("named", named);
	fact_int("present", present);
	return probe_end();
}
