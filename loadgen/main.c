/* loadgen: drives a server and measures it. See docs/loadgen.md. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "block.h"
#include "expected.h"
#include "find.h"
#include "judge.h"
#include "merge.h"
#include "net.h"
#include "options.h"
#include "report.h"
#include "run.h"
#include "timeline.h"

static int give_up(const struct options *o, enum exit_status status, const char *error)
{
	char why[512];

	fprintf(stderr, "loadgen: %s\n", error);
	if (o->json_path && !report_json_error(o->json_path, status, error, why, sizeof(why)))
		fprintf(stderr, "loadgen: %s\n", why);
	return (int)status;
}

/* Signals are taken by the main thread alone, where it waits; a peer that is gone is an errno, not a signal. */
static void prepare_signals(void)
{
	sigset_t stop;

	sigemptyset(&stop);
	sigaddset(&stop, SIGINT);
	sigaddset(&stop, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &stop, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static void raise_fd_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static int report(const struct options *o, const struct result *r, const struct expected *expected)
{
	struct judgement verdict;
	char why[512];

	judge(&verdict, o, r);
	if (!o->quiet) {
		bool json_on_stdout = o->json_path && strcmp(o->json_path, "-") == 0;
		report_text(json_on_stdout ? stderr : stdout, o, r, &verdict);
	}
	enum exit_status status = verdict.status;
	if (o->hgrm_path && !report_hgrm(o->hgrm_path, r, why, sizeof(why))) {
		fprintf(stderr, "loadgen: %s\n", why);
		status = EXIT_FAILED;
	}
	if (o->json_path && !report_json(o->json_path, o, r, &verdict, expected, why, sizeof(why))) {
		fprintf(stderr, "loadgen: %s\n", why);
		status = EXIT_FAILED;
	}
	return (int)status;
}

/* One run, or the search for a rate. Without memory or threads: false and `why`. */
static bool carry_out(const struct options *o, const struct target *target, const struct expected *expected,
	struct find *find, struct timeline *timeline, struct result **r, char *why, size_t why_size)
{
	if (!*r)
		return options_wrong(why, why_size, "out of memory");
	if (o->find_ppm)
		return find_rate(find, o, target, expected, timeline, r, why, why_size);
	return run_load(o, target, expected, timeline, *r, why, why_size);
}

static int measure(struct options *o, const struct target *target, const struct expected *expected)
{
	struct result *r = calloc(1, sizeof(*r));
	struct timeline timeline;
	struct find find;
	char why[512];

	if (!timeline_open(&timeline, o, why, sizeof(why))) {
		free(r);
		return give_up(o, EXIT_USAGE, why);
	}
	if (!carry_out(o, target, expected, &find, &timeline, &r, why, sizeof(why)))
		return give_up(o, EXIT_FAILED, why);
	bool told = timeline_close(&timeline, why, sizeof(why));
	if (!told)
		fprintf(stderr, "loadgen: %s\n", why);
	if (r->find && r->find->count > 0)
		o->mode = MODE_OPEN; /* what the search ended with */
	int status = report(o, r, expected);
	run_free(r);
	free(r);
	return told || status ? status : EXIT_FAILED;
}

/* All threads, this one included, stay on the CPUs of --cpus: the others may belong to the server. */
static bool use_cpus(const struct options *o, char *why, size_t size)
{
	cpu_set_t got;

	if (!o->cpus_text)
		return true;
	bool fine = sched_setaffinity(0, sizeof(o->cpus), &o->cpus) == 0 &&
		    sched_getaffinity(0, sizeof(got), &got) == 0 && CPU_EQUAL(&got, &o->cpus);
	return fine || options_wrong(why, size, "--cpus %s: not all of these CPUs can be used by this process",
			       o->cpus_text);
}

/* The processes named by --watch and --pause must be there. */
static bool check_processes(const struct options *o, char *why, size_t size)
{
	uint64_t missing;

	if (!host_watchable(o, &missing))
		return options_wrong(
			why, size, "--watch %llu: there is no such process", (unsigned long long)missing);
	for (uint32_t i = 0; i < o->pause_count; i++)
		if (kill((pid_t)o->pauses[i].pid, 0) < 0)
			return options_wrong(why, size,
				"--pause %llu: there is no such process that could be signalled",
				(unsigned long long)o->pauses[i].pid);
	return true;
}

/* Results go to files that are made after the run: better to know before it that they cannot be. */
static bool check_folder(const char *option, const char *path, char *why, size_t size)
{
	const char *slash = path ? strrchr(path, '/') : NULL;
	char folder[4096] = ".";

	if (!path || strcmp(path, "-") == 0)
		return true;
	if (slash)
		snprintf(folder, sizeof(folder), "%.*s", slash == path ? 1 : (int)(slash - path), path);
	return access(folder, W_OK | X_OK) == 0 ||
	       options_wrong(why, size, "--%s %s: cannot write there: %s", option, path, strerror(errno));
}

static bool check_results(struct options *o, char *why, size_t size)
{
	bool json = check_folder("json", o->json_path, why, size);

	if (!json)
		o->json_path = NULL; /* what is wrong cannot be told there either */
	return json && check_folder("hgrm", o->hgrm_path, why, size);
}

/* The right replies of all classes of one load. */
static int rehearse_load(struct expected *expected, const struct options *load, const struct target *target,
	char *why, size_t size)
{
	int status = 0;

	for (uint32_t i = 0; !status && i < options_class_count(load); i++)
		status = expected_init(&expected[i], options_class(load, i), target, why, size);
	return status;
}

/* Those of all loads; 0, or the exit status that the run ends with. */
static int rehearse_all(
	struct expected *expected, const struct options *o, const struct target *target, char *why, size_t size)
{
	int status = rehearse_load(expected, o, target, why, size);

	for (uint32_t i = 0; !status && i < o->population_count; i++)
		status = rehearse_load(&expected[(i + 1) * MAX_CLASSES], o->populations[i], target, why, size);
	return status;
}

int main(int argc, char **argv)
{
	static struct options options; /* what it points to is freed at the end of a run, or with the process */
	struct target target;
	static struct expected expected[(1 + MAX_POPULATIONS) * MAX_CLASSES];
	char why[512];

	if (argc > 1 && strcmp(argv[1], "merge") == 0)
		return merge_main(argc - 2, argv + 2);
	if (argc > 1 && strcmp(argv[1], "make-file") == 0)
		return block_main(argc - 2, argv + 2);
	prepare_signals();
	enum parsed parsed = options_parse(&options, argc, argv, why, sizeof(why));
	if (parsed == PARSED_DONE)
		return EXIT_GOOD;
	raise_fd_limit();
	if (parsed == PARSED_WRONG || !check_results(&options, why, sizeof(why)) ||
		!net_resolve(options.target, &target, why, sizeof(why)) ||
		!options_limits(&options, &target, why, sizeof(why)) ||
		!check_processes(&options, why, sizeof(why)) || !use_cpus(&options, why, sizeof(why)))
		return give_up(&options, EXIT_USAGE, why);
	int status = rehearse_all(expected, &options, &target, why, sizeof(why));
	status = status ? give_up(&options, (enum exit_status)status, why)
			: measure(&options, &target, expected);
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
		expected_free(&expected[i]);
	options_free(&options);
	return status;
}
