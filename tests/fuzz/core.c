/* Fuzzes the protocol core: however a peer's bytes are cut, taken and interleaved, the same comes out, and
 * every promise of conn.h that play.c can see is kept.
 *
 * The input's first line is the schedule, readable on purpose: `e`, `g`, `h` or `f` for the protocol; a digit
 * whose bits are 1 --delay, 2 --delay-blocks, 4 an end of the stream, 8 (`8`, `9`, `:` to `?`) pieces beyond
 * the room; then bytes that say how large each piece and each send is and what comes first: `0` 17 bytes, `A`
 * 2, `a` 9,409. The rest is what the peer sends. Try: make fuzz FUZZ_SECONDS=60. One input again:
 * build/fuzz/core FILE
 */
#include "play.h"

#include "ledger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OUTPUT_LIMIT = 1 << 17 }; /* enough to pass every boundary; a few requests could ask for gigabytes */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

void play_broken(const char *promise)
{
	fprintf(stderr, "broken: %s\n", promise);
	abort();
}

static void require(bool kept, const char *promise)
{
	if (!kept)
		play_broken(promise);
}

struct plan {
	struct core core;
	struct script script;
	struct style style;
};

static struct chooser listed(const uint8_t *bytes, size_t n, size_t from)
{
	return (struct chooser){.pick = pick_listed, .bytes = bytes, .listed = n, .state = from};
}

static struct plan plan_of(const uint8_t *data, size_t size)
{
	const uint8_t *newline = memchr(data, '\n', size), *bytes = newline ? newline + 1 : data + size;
	size_t line = (size_t)(bytes - data) - (newline != NULL);
	struct plan plan = {
		.core = {.loops_per_us = 3, .file_fd = PLAY_FILE_FD, .file_blocks = PLAY_FILE_BLOCKS}};
	unsigned flags = line > 1 ? data[1] : 0;
	plan.core.protocol = line == 0 || data[0] == 'h' ? PROTOCOL_HTTP
			     : data[0] == 'g'            ? PROTOCOL_GREET
			     : data[0] == 'f'            ? PROTOCOL_FRAME
							 : PROTOCOL_ECHO;
	bool delays = plan.core.protocol == PROTOCOL_GREET || plan.core.protocol == PROTOCOL_HTTP;
	plan.core.delay_ns = flags & 1 && delays ? 7 : 0;
	plan.core.delay_blocks = flags & 2;
	plan.script = (struct script){bytes, size - (size_t)(bytes - data), flags & 4};
	size_t n = line > 2 ? line - 2 : 0;
	const uint8_t *schedule = n ? data + 2 : data;
	plan.style = (struct style){
		listed(schedule, n, 0), listed(schedule, n, n / 3), listed(schedule, n, n / 2), flags & 8};
	return plan;
}

static void compare(const struct plan *plan, const struct trace *whole, const struct trace *split)
{
	size_t n = whole->n < OUTPUT_LIMIT ? whole->n : OUTPUT_LIMIT;
	require(split->n >= n && (n == OUTPUT_LIMIT || split->n == n), "as many bytes come out");
	require(n == 0 || memcmp(whole->out, split->out, n) == 0, "the same bytes come out");
	for (size_t i = 0; i < whole->pause_count && whole->pauses[i].at < n; i++) {
		require(i < split->pause_count && whole->pauses[i].at == split->pauses[i].at,
			"pauses stand in the same place");
		require(whole->pauses[i].pause.kind == split->pauses[i].pause.kind &&
				whole->pauses[i].pause.amount == split->pauses[i].pause.amount,
			"the same pauses");
	}
	if (n == OUTPUT_LIMIT)
		return;
	require(whole->pause_count == split->pause_count, "as many pauses");
	require(whole->wants == split->wants, "the same end");
	require(whole->wants == (plan->script.eof ? CONN_CLOSE : CONN_RECV), "it waits for more, or closes");
	require(whole->shut == split->shut || (plan->script.eof && !split->shut), "the same FIN");
	if (plan->core.protocol == PROTOCOL_ECHO)
		require(n == plan->script.n && (n == 0 || memcmp(whole->out, plan->script.data, n) == 0),
			"an echo");
	else
		require(whole->requests == split->requests, "as many requests");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct plan plan = plan_of(data, size);
	struct style at_once = {{.pick = pick_all}, {.pick = pick_all}, {.pick = pick_all}, true};
	struct trace whole = {.limit = OUTPUT_LIMIT}, split = {.limit = OUTPUT_LIMIT};
	ledger.eager_free = true;
	play(&plan.core, plan.script, at_once, &whole);
	play(&plan.core, plan.script, plan.style, &split);
	compare(&plan, &whole, &split);
	require(ledger.held == 0, "everything is given back");
	trace_free(&whole);
	trace_free(&split);
	return 0;
}
