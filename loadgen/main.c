/* loadgen: drives a server and measures it. See docs/loadgen.md. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "judge.h"
#include "net.h"
#include "options.h"
#include "report.h"
#include "run.h"

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

static int measure(const struct options *o, const struct target *target)
{
	struct result *r = calloc(1, sizeof(*r));
	struct judgement verdict;
	char why[512];

	if (!r || !run_load(o, target, r, why, sizeof(why)))
		return give_up(o, EXIT_FAILED, r ? why : "out of memory");
	judge(&verdict, o, r);
	if (!o->quiet) {
		bool json_on_stdout = o->json_path && strcmp(o->json_path, "-") == 0;
		report_text(json_on_stdout ? stderr : stdout, o, r, &verdict);
	}
	enum exit_status status = verdict.status;
	if (o->json_path && !report_json(o->json_path, o, r, &verdict, why, sizeof(why))) {
		fprintf(stderr, "loadgen: %s\n", why);
		status = EXIT_FAILED;
	}
	run_free(r);
	free(r);
	return (int)status;
}

int main(int argc, char **argv)
{
	struct options options;
	struct target target;
	uint64_t missing;
	char why[512];

	enum parsed parsed = options_parse(&options, argc, argv, why, sizeof(why));
	if (parsed == PARSED_DONE)
		return EXIT_GOOD;
	if (parsed == PARSED_WRONG || !net_resolve(options.target, &target, why, sizeof(why)))
		return give_up(&options, EXIT_USAGE, why);
	if (!host_watchable(&options, &missing)) {
		snprintf(why, sizeof(why), "--watch %llu: there is no such process",
			(unsigned long long)missing);
		return give_up(&options, EXIT_USAGE, why);
	}
	prepare_signals();
	raise_fd_limit();
	return measure(&options, &target);
}
