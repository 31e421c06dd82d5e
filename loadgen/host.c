#include "host.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

enum { THREADS_READ = 64 }; /* a thread's switches cost about 10 us to read, on the CPU that makes the load */

bool host_watchable(const struct options *o, uint64_t *missing_pid)
{
	for (uint32_t i = 0; i < o->watch_count; i++) {
		clockid_t clock;
		if (clock_getcpuclockid((pid_t)o->watch[i], &clock) != 0) {
			*missing_pid = o->watch[i];
			return false;
		}
	}
	return true;
}

/* Adds the switches of one thread, from its /proc status file. */
static void add_switches(struct watched_process *p, const char *path)
{
	char line[256];
	unsigned long long n;
	FILE *file = fopen(path, "re");

	if (!file)
		return; /* the thread ended since it was listed */
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "voluntary_ctxt_switches: %llu", &n) == 1)
			p->voluntary_switches += n;
		else if (sscanf(line, "nonvoluntary_ctxt_switches: %llu", &n) == 1)
			p->involuntary_switches += n;
	}
	fclose(file);
}

/* Threads of a process: the links of its task folder, less the folder's own two. 0 if it is gone. */
static uint32_t count_threads(const char *task_folder)
{
	struct stat folder;

	return stat(task_folder, &folder) == 0 && folder.st_nlink > 2 ? (uint32_t)folder.st_nlink - 2 : 0;
}

static void sample_switches(struct watched_process *p, const char *task_folder)
{
	char path[352];
	DIR *tasks = opendir(task_folder);

	if (!tasks)
		return;
	for (struct dirent *task; (task = readdir(tasks));) {
		if (task->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s/status", task_folder, task->d_name);
		add_switches(p, path);
	}
	closedir(tasks);
	p->switches_known = true;
}

static void sample_threads(struct watched_process *p, pid_t pid)
{
	char task_folder[64];
	cpu_set_t allowed;

	snprintf(task_folder, sizeof(task_folder), "/proc/%d/task", (int)pid);
	uint32_t threads = count_threads(task_folder);
	uint32_t cpus =
		sched_getaffinity(pid, sizeof(allowed), &allowed) == 0 ? (uint32_t)CPU_COUNT(&allowed) : 0;
	p->usable_cpus = threads < cpus ? threads : cpus;
	if (threads <= THREADS_READ)
		sample_switches(p, task_folder);
}

static uint64_t process_cpu_ns(pid_t pid)
{
	clockid_t clock;

	return clock_getcpuclockid(pid, &clock) == 0 ? clock_cpu(clock) : 0;
}

static void sample_clock(struct watched_process *p, pid_t pid)
{
	p->cpu_ns = process_cpu_ns(pid);
	p->found = p->cpu_ns > 0;
}

/* The parent of a process, and what the children that it has waited for have used: fields 4, 16 and 17 of
 * /proc/PID/stat, counted from behind the name, which may hold anything. False: there is no such process. */
static bool read_stat(pid_t pid, pid_t *parent, uint64_t *reaped_ns)
{
	char path[32], text[1024];
	unsigned long user, system;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	FILE *file = fopen(path, "re");
	if (!file)
		return false;
	text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
	fclose(file);
	const char *behind = strrchr(text, ')');
	if (!behind || sscanf(behind + 1, " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %lu %lu", parent,
			       &user, &system) != 3)
		return false;
	*reaped_ns = (user + system) * (NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK));
	return true;
}

static int find_watched(const struct options *o, pid_t pid)
{
	for (uint32_t i = 0; i < o->watch_count; i++)
		if (o->watch[i] == (uint64_t)pid)
			return (int)i;
	return -1;
}

static struct child {
	pid_t pid;
	int parent; /* which of the watched processes */
} * children;
static uint32_t child_count, child_room;

static bool is_known(pid_t pid)
{
	for (uint32_t i = 0; i < child_count; i++)
		if (children[i].pid == pid)
			return true;
	return false;
}

static void add_child(pid_t pid, int parent)
{
	if (child_count == child_room) {
		child_room = child_room ? 2 * child_room : 64;
		children = realloc(children, child_room * sizeof(*children));
		if (!children)
			abort();
	}
	children[child_count++] = (struct child){pid, parent};
}

/* A server that forks for each connection does its work in processes that were not there when it was named.
 * Which they are is asked of all processes, because not every kernel lists a process's children; that takes
 * milliseconds, and is done outside the window. Behind its end those are added that were born within. */
static void find_children(struct host_sample *s, const struct options *o)
{
	bool behind = s->at_ns > 0;
	DIR *processes = opendir("/proc");

	if (!processes)
		return;
	for (struct dirent *entry; (entry = readdir(processes));) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10), parent;
		uint64_t reaped_ns;
		if (pid <= 0 || !read_stat(pid, &parent, &reaped_ns) || find_watched(o, pid) >= 0)
			continue;
		int watched = find_watched(o, parent);
		if (watched < 0 || is_known(pid))
			continue;
		add_child(pid, watched);
		if (behind)
			s->watched[watched].children_cpu_ns += process_cpu_ns(pid);
	}
	closedir(processes);
}

/* Each child is counted while it lives, or, to a tick of 10 ms for all together, when it has been waited for.
 */
static void sample_children(struct host_sample *s, const struct options *o)
{
	for (uint32_t i = 0; i < o->watch_count; i++) {
		pid_t parent;
		uint64_t reaped_ns;
		if (read_stat((pid_t)o->watch[i], &parent, &reaped_ns))
			s->watched[i].children_cpu_ns += reaped_ns;
	}
	for (uint32_t i = 0; i < child_count; i++)
		s->watched[children[i].parent].children_cpu_ns += process_cpu_ns(children[i].pid);
}

static void sample_cpus(struct host_sample *s)
{
	char line[512];
	uint64_t tick_ns = NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK);
	FILE *file = fopen("/proc/stat", "re");

	if (!file)
		return;
	while (fgets(line, sizeof(line), file)) {
		unsigned cpu;
		unsigned long long idle, iowait, steal;
		/* cpuN user nice system idle iowait irq softirq steal */
		if (sscanf(line, "cpu%u %*u %*u %*u %llu %llu %*u %*u %llu", &cpu, &idle, &iowait, &steal) != 4)
			continue;
		if (cpu < CPU_SETSIZE)
			s->cpus[cpu] = (struct host_cpu){true, (idle + iowait) * tick_ns, steal * tick_ns};
	}
	fclose(file);
}

void host_sample_threads(struct host_sample *s, const struct options *o)
{
	for (uint32_t i = 0; i < o->watch_count; i++)
		sample_threads(&s->watched[i], (pid_t)o->watch[i]);
	if (o->watch_count > 0)
		find_children(s, o);
}

void host_sample_clocks(struct host_sample *s, const struct options *o)
{
	s->at_ns = clock_now();
	for (uint32_t i = 0; i < o->watch_count; i++)
		sample_clock(&s->watched[i], (pid_t)o->watch[i]);
	sample_children(s, o);
	sample_cpus(s);
}

static json_int_t grown(uint64_t from, uint64_t to)
{
	return to > from ? (json_int_t)(to - from) : 0;
}

json_t *host_watch_json(const struct options *o, const struct host_sample *a, const struct host_sample *b)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < o->watch_count; i++) {
		const struct watched_process *p = &a->watched[i], *q = &b->watched[i];
		bool found = p->found && q->found, switches = found && p->switches_known && q->switches_known;
		json_t *process = json_pack("{sI sn sn sn sn}", "pid", (json_int_t)o->watch[i], "cpu_ns",
			"children_cpu_ns", "voluntary_ctxt_switches", "nonvoluntary_ctxt_switches");
		if (found) {
			json_object_set_new(process, "cpu_ns", json_integer(grown(p->cpu_ns, q->cpu_ns)));
			json_object_set_new(process, "children_cpu_ns",
				json_integer(grown(p->children_cpu_ns, q->children_cpu_ns)));
		}
		if (switches) {
			json_object_set_new(process, "voluntary_ctxt_switches",
				json_integer(grown(p->voluntary_switches, q->voluntary_switches)));
			json_object_set_new(process, "nonvoluntary_ctxt_switches",
				json_integer(grown(p->involuntary_switches, q->involuntary_switches)));
		}
		json_array_append_new(list, process);
	}
	return list;
}

json_t *host_cpus_json(const struct host_sample *a, const struct host_sample *b)
{
	json_t *list = json_array();

	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		const struct host_cpu *p = &a->cpus[cpu], *q = &b->cpus[cpu];
		if (p->online && q->online)
			json_array_append_new(list,
				json_pack("{si sI sI}", "cpu", cpu, "idle_ns", grown(p->idle_ns, q->idle_ns),
					"steal_ns", grown(p->steal_ns, q->steal_ns)));
	}
	return json_pack("{sI so}", "window_ns", grown(a->at_ns, b->at_ns), "cpus", list);
}

/* The value of the first line of a /proc file that starts with `key`. */
static json_t *line_of(const char *path, const char *key)
{
	char line[512];
	json_t *value = NULL;
	FILE *file = fopen(path, "re");

	while (file && !value && fgets(line, sizeof(line), file)) {
		if (strncmp(line, key, strlen(key)) != 0)
			continue;
		const char *text = line + strlen(key);
		text += strspn(text, " \t:");
		value = json_stringn(text, strcspn(text, "\n"));
	}
	if (file)
		fclose(file);
	return value ? value : json_null();
}

json_t *host_env_json(void)
{
	struct utsname os;
	struct rlimit files = {0, 0};

	uname(&os);
	getrlimit(RLIMIT_NOFILE, &files);
	return json_pack("{ss ss so so sI si ss}", "kernel", os.release, "machine", os.machine, "cpu_model",
		line_of("/proc/cpuinfo", "model name"), "clocksource",
		line_of("/sys/devices/system/clocksource/clocksource0/current_clocksource", ""), "fd_limit",
		(json_int_t)files.rlim_cur, "cpus_online", (int)sysconf(_SC_NPROCESSORS_ONLN), "compiler",
		__VERSION__);
}
