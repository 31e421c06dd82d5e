/* waiting_servers: in which state does a server wait for clients?
 *
 * "How Does Async / Non-Blocking IO Actually Work?" (2025) reads the third line of /proc/PID/status: a
 * server that waits for a client is asleep, in state S.
 *
 * Every server beside this probe (build/servers, next to build/probes) is started and left without clients.
 * Then each of its tasks, and of its children's, is asked SAMPLES times for its state, and in the end for its
 * CPU time. A model that waits in a system call sleeps, however many calls that is; busy_poll never does, and
 * is counted apart.
 *
 * Try: make && build/probes/waiting_servers
 * Takes about 3 s.
 */
#include "probe.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	SERVERS = 64,
	SAMPLES = 100,
	INTERVAL_MS = 10,
	LOOK_MS = 2000,  /* and no longer, however busy the host is */
	START_MS = 2000, /* for all to say READY */
	SETTLE_MS = 100, /* for workers that start behind it */
	PATH = 4096,
};

struct server {
	char name[256];
	pid_t pid;
	int output; /* its stdout */
	bool ready;
	int tasks, samples, asleep;
	long ticks_before, ticks; /* CPU time of all its tasks, in clock ticks */
};

static struct server servers[SERVERS];
static int count;

static void start(const char *folder, const char *name)
{
	struct server *server = &servers[count++];
	char path[PATH + 300];
	int output[2];
	snprintf(server->name, sizeof server->name, "%s", name);
	snprintf(path, sizeof path, "%s/%s", folder, name);
	must(pipe2(output, O_CLOEXEC));
	server->pid = probe_fork();
	if (server->pid == 0) {
		if (dup2(output[1], STDOUT_FILENO) >= 0 && freopen("/dev/null", "w", stderr))
			execl(path, path, "--port", "0", (char *)NULL);
		_exit(1);
	}
	close(output[1]);
	server->output = output[0];
}

static int is_visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void start_all(void)
{
	char folder[PATH];
	struct dirent **entries;
	folder[must(readlink("/proc/self/exe", folder, PATH - 32))] = '\0';
	strcpy(strrchr(folder, '/'), "/../servers");
	int found = scandir(folder, &entries, is_visible, alphasort);
	if (found <= 0)
		probe_skip("there are no servers in %s; build them with `make`", folder);
	for (int i = 0; i < found; i++) {
		if (count < SERVERS)
			start(folder, entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
}

/* One that says nothing cannot run on this host, and has ended by itself. */
static void await_ready(struct server *server, uint64_t start)
{
	char line[64];
	int left_ms = START_MS - (int)(probe_us_since(start) / 1e3);
	server->ready = probe_ready(server->output, POLLIN, left_ms > 0 ? left_ms : 0) &&
			read(server->output, line, sizeof line) > 0;
}

static void look_at_task(struct server *server, const char *folder)
{
	char path[128], text[1024] = "", state;
	unsigned long user, system;
	snprintf(path, sizeof path, "%s/stat", folder);
	FILE *stat = fopen(path, "re");
	if (!stat)
		return; /* a worker that has left */
	size_t length = fread(text, 1, sizeof text - 1, stat);
	fclose(stat);
	text[length] = '\0';
	char *behind_name = strrchr(text, ')');
	if (!behind_name || sscanf(behind_name, ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &state,
				    &user, &system) != 3)
		probe_fail("%s is not as proc(5) has it", path);
	server->tasks++;
	server->samples++;
	server->asleep += state == 'S';
	server->ticks += (long)(user + system);
}

/* Threads, and children with theirs. */
static void look_at(struct server *server, pid_t pid)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/task", pid);
	DIR *tasks = opendir(path);
	struct dirent *entry;
	while (tasks && (entry = readdir(tasks))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof path, "/proc/%d/task/%.12s", pid, entry->d_name);
		look_at_task(server, path);
		strcat(path, "/children");
		FILE *children = fopen(path, "re");
		int child;
		while (children && fscanf(children, "%d", &child) == 1)
			look_at(server, child);
		if (children)
			fclose(children);
	}
	if (tasks)
		closedir(tasks);
}

static void sample_all(void)
{
	uint64_t start = clock_now_ns();
	for (int sample = 0; sample < SAMPLES && probe_us_since(start) < LOOK_MS * 1e3; sample++) {
		for (int i = 0; i < count; i++) {
			struct server *server = &servers[i];
			if (!server->ready)
				continue;
			server->tasks = 0;
			server->ticks = 0;
			look_at(server, server->pid);
			if (sample == 0)
				server->ticks_before = server->ticks;
		}
		probe_sleep_ms(INTERVAL_MS);
	}
}

static void stop_all(void)
{
	for (int i = 0; i < count; i++)
		kill(servers[i].pid, SIGTERM);
	for (int i = 0; i < count; i++)
		probe_reap(servers[i].pid);
}

static void show(const struct server *server)
{
	facts_open(server->name);
	fact_int("tasks", server->tasks);
	fact_int("samples", server->samples);
	fact_real("asleep_share", (double)server->asleep / server->samples);
	fact_int("cpu_ticks", server->ticks - server->ticks_before);
	facts_close();
}

static int line_of_state(void)
{
	FILE *status = fopen("/proc/self/status", "re");
	char line[256];
	int number = 1;
	while (status && fgets(line, sizeof line, status) && strncmp(line, "State:", 6) != 0)
		number++;
	if (status)
		fclose(status);
	return number;
}

int main(int argc, char **argv)
{
	probe_begin(argc, argv, "", "The states of every server's tasks while no client is there.");
	double least_asleep = 1;
	long most_ticks = 0;
	int waiting = 0;
	uint64_t start = clock_now_ns();
	start_all();
	for (int i = 0; i < count; i++)
		await_ready(&servers[i], start);
	probe_sleep_ms(SETTLE_MS);
	sample_all();
	stop_all();

	fact_int("line_of_state", line_of_state());
	facts_open("servers");
	for (const struct server *server = servers; server < servers + count; server++) {
		if (!server->ready || server->samples == 0)
			continue;
		show(server);
		if (strcmp(server->name, "busy_poll") == 0)
			continue;
		double asleep = (double)server->asleep / server->samples;
		least_asleep = asleep < least_asleep ? asleep : least_asleep;
		long ticks = server->ticks - server->ticks_before;
		most_ticks = ticks > most_ticks ? ticks : most_ticks;
		waiting++;
	}
	facts_close();
	fact_int("servers_that_wait", waiting);
	fact_real("least_asleep_share", least_asleep);
	fact_int("most_cpu_ticks", most_ticks);
	facts_list("cannot_run_here");
	for (int i = 0; i < count; i++)
		if (!servers[i].ready)
			fact_text(NULL, servers[i].name);
	facts_close();
	return probe_end();
}
