/* Every transcript, cut in every way, taken in every way, in every order: always the same bytes, pauses and
 * end. The pieces stand against forbidden pages, see play.c. Try: build/tests/unit/test_transcripts */
#include "transcripts.h"

#include "ledger.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	RANDOM_ROUNDS = 24,
	AFFORDABLE = 1 << 18, /* bytes moved one at a time per transcript and style */
};

static const struct {
	const char *name;
	size_t (*pick)(struct chooser *, size_t most);
} orders[] = {{"finishing before reading on", pick_all}, {"reading ahead", pick_one},
	{"in random order", pick_random}},
  takings[] = {{"all", pick_all}, {"one byte", pick_one}, {"random amounts", pick_random}};
enum { ORDERS = 3, TAKINGS = 3 };

struct rehearsal { /* one script, to be played again and again */
	const struct transcript *transcript;
	struct script script;
	struct trace expected;
};

static struct playing { /* for the message of a failure */
	const struct rehearsal *rehearsal;
	uint64_t piece, seed;
	size_t order, taking;
	bool beyond_room;
} now;

static const char *playing(void)
{
	static char words[512];
	snprintf(words, sizeof words, "%s, first %zu bytes%s, pieces from %ju, %s, taking %s, seed %ju%s",
		now.rehearsal->transcript->name, now.rehearsal->script.n,
		now.rehearsal->script.eof ? " and EOF" : "", (uintmax_t)now.piece, orders[now.order].name,
		takings[now.taking].name, (uintmax_t)now.seed, now.beyond_room ? ", beyond the room" : "");
	return words;
}

void play_broken(const char *promise)
{
	print_error("%s: broken: %s\n", playing(), promise);
	fail();
	abort();
}

/* A FIN may be spared where the client's own was read before it was due: closing sends one just as well. */
static void compare(const struct trace *trace, const struct trace *expected, bool eof, bool finishes_first)
{
	size_t n = trace->n < expected->n ? trace->n : expected->n, same = 0;
	while (same < n && trace->out[same] == expected->out[same])
		same++;
	if (same < n || trace->n != expected->n)
		fail_msg("%s: %zu bytes came out, %zu expected, different from byte %zu: '%.*s', not '%.*s'",
			playing(), trace->n, expected->n, same,
			(int)(trace->n - same < 80 ? trace->n - same : 80), (const char *)trace->out + same,
			(int)(expected->n - same < 80 ? expected->n - same : 80),
			(const char *)expected->out + same);
	bool pauses_same = trace->pause_count == expected->pause_count;
	for (size_t i = 0; pauses_same && i < trace->pause_count; i++)
		pauses_same = trace->pauses[i].at == expected->pauses[i].at &&
			      trace->pauses[i].pause.kind == expected->pauses[i].pause.kind &&
			      trace->pauses[i].pause.amount == expected->pauses[i].pause.amount;
	if (!pauses_same)
		fail_msg("%s: %zu pauses, %zu expected, or different ones", playing(), trace->pause_count,
			expected->pause_count);
	if (trace->wants != expected->wants)
		fail_msg("%s: wants %u at the end, not %u", playing(), trace->wants, expected->wants);
	if (trace->shut != expected->shut && (trace->shut || !eof || finishes_first))
		fail_msg("%s: it %s FIN", playing(), trace->shut ? "sent a" : "did not send a");
	if (trace->requests != expected->requests)
		fail_msg("%s: %ju requests counted, not %ju", playing(), (uintmax_t)trace->requests,
			(uintmax_t)expected->requests);
}

static void play_once(const struct rehearsal *rehearsal, struct chooser piece, size_t order, size_t taking,
	uint64_t seed, bool beyond_room)
{
	struct style style = {.piece = piece,
		.turn = {.pick = orders[order].pick, .state = seed},
		.taken = {.pick = takings[taking].pick, .state = seed + 1},
		.beyond_room = beyond_room};
	struct core core = transcript_core(rehearsal->transcript);
	struct trace trace = {0};
	now = (struct playing){rehearsal, piece.state, seed, order, taking, beyond_room};
	ledger.eager_free = seed % 2;
	play(&core, rehearsal->script, style, &trace);
	if (core.protocol == PROTOCOL_ECHO)
		trace.requests = 0; /* it counts pieces */
	compare(&trace, &rehearsal->expected, rehearsal->script.eof, order == 0);
	trace_free(&trace);
	assert_int_equal(ledger.held, 0);
}

static struct rehearsal rehearse(const struct transcript *transcript, const uint8_t *input, size_t n, bool eof)
{
	struct rehearsal rehearsal = {transcript, {input, n, eof}, {0}};
	transcript_expect(transcript, n, eof, &rehearsal.expected);
	return rehearsal;
}

/* A long transcript is cut everywhere as well, but not in every order and taking at every place. */
static size_t cuts_apart(const struct rehearsal *rehearsal)
{
	return 1 + rehearsal->script.n * (rehearsal->script.n / 16 + rehearsal->expected.n) / AFFORDABLE;
}

static void play_every_split(const struct rehearsal *rehearsal)
{
	size_t apart = cuts_apart(rehearsal);
	for (size_t cut = 0; cut <= rehearsal->script.n; cut++) {
		bool full = cut % apart == 0;
		for (size_t order = full ? 0 : cut % ORDERS; order < ORDERS; order += full ? 1 : ORDERS)
			for (size_t taking = 0; taking < (full ? TAKINGS : 1); taking++)
				play_once(rehearsal, (struct chooser){.pick = pick_first, .state = cut}, order,
					taking, cut + 1, cut % 2);
	}
}

static void play_dribble_and_random(const struct rehearsal *rehearsal)
{
	for (size_t order = 0; order < ORDERS; order++) {
		for (size_t taking = 0; taking < TAKINGS; taking++) {
			play_once(rehearsal, (struct chooser){.pick = pick_one}, order, taking, 1, false);
			for (uint64_t seed = 1; seed <= RANDOM_ROUNDS / (1 + rehearsal->expected.n / 16384);
				seed++)
				play_once(rehearsal, (struct chooser){.pick = pick_random, .state = seed * 977},
					order, taking, seed, seed % 2);
		}
	}
}

static void play_every_end(const struct transcript *transcript, const uint8_t *input, size_t n)
{
	for (size_t end = 0; end <= n; end++) {
		struct rehearsal rehearsal = rehearse(transcript, input, end, true);
		for (size_t order = 0; order < ORDERS; order++)
			play_once(&rehearsal,
				(struct chooser){.pick = end % 2 ? pick_all : pick_random, .state = end + 1},
				order, end % TAKINGS, end + 1, false);
		trace_free(&rehearsal.expected);
	}
}

static void perform(const struct transcript *transcript)
{
	size_t n;
	const uint8_t *input = transcript_input(transcript, &n);
	for (int eof = 0; eof < 2; eof++) {
		struct rehearsal rehearsal = rehearse(transcript, input, n, eof);
		play_every_split(&rehearsal);
		play_dribble_and_random(&rehearsal);
		trace_free(&rehearsal.expected);
	}
	play_every_end(transcript, input, n);
}

static void written_transcripts(void **state)
{
	(void)state;
	for (size_t i = 0; i < transcript_count; i++)
		perform(&transcripts[i]);
}

static void a_hundred_in_a_row(void **state)
{
	(void)state;
	struct transcript plain = transcript_pipeline(100, false), pausing = transcript_pipeline(100, true);
	perform(&plain);
	perform(&pausing);
}

/* More replies than fit into a connection's output, behind more requests than fit into its input. */
static void a_thousand_in_a_row(void **state)
{
	(void)state;
	struct transcript transcript = transcript_pipeline(1500, true);
	size_t n;
	const uint8_t *input = transcript_input(&transcript, &n);
	struct rehearsal rehearsal = rehearse(&transcript, input, n, true);
	assert_true(n > 65536 / 2 && rehearsal.expected.n > 65536);
	play_dribble_and_random(&rehearsal);
	for (size_t order = 0; order < ORDERS; order++)
		play_once(&rehearsal, (struct chooser){.pick = pick_all}, order, 0, 1, true);
	trace_free(&rehearsal.expected);
}

/* Around the sizes of a small block, a large block and a lent piece of the pattern. */
static void bodies_across_every_boundary(void **state)
{
	(void)state;
	static const uint64_t lengths[] = {1, 63, 64, 65, 3990, 3991, 3992, 4072, 32640, 32744, 65535, 65536,
		65537, 131072 + 4096, 200001};
	for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
		struct transcript transcript = transcript_bytes(lengths[i], i % 4 ? "GET" : "HEAD");
		perform(&transcript);
	}
}

static void heads_around_8192_bytes(void **state)
{
	(void)state;
	for (size_t bytes = 8192; bytes <= 8193; bytes++) {
		struct transcript transcript = transcript_head(bytes);
		perform(&transcript);
	}
}

static void names_around_1024_bytes(void **state)
{
	(void)state;
	for (size_t bytes = 1023; bytes <= 1027; bytes++) {
		struct transcript lf = transcript_name(bytes, "\n"), crlf = transcript_name(bytes, "\r\n");
		perform(&lf);
		perform(&crlf);
	}
}

static void blocks_of_a_file(void **state)
{
	(void)state;
	for (int closes = 0; closes < 2; closes++) {
		struct transcript transcript = transcript_files(closes);
		perform(&transcript);
	}
}

static void frames_in_a_row(void **state)
{
	(void)state;
	struct transcript transcript = transcript_frames(100);
	perform(&transcript);
}

/* More replies than fit into a connection's output, behind more requests than fit into its input. */
static void frames_beyond_what_a_connection_holds(void **state)
{
	(void)state;
	struct transcript transcript = transcript_frames(2000);
	size_t n;
	const uint8_t *input = transcript_input(&transcript, &n);
	struct rehearsal rehearsal = rehearse(&transcript, input, n, true);
	assert_true(n > 65536 / 2 && rehearsal.expected.n > 65536);
	play_dribble_and_random(&rehearsal);
	for (size_t order = 0; order < ORDERS; order++)
		play_once(&rehearsal, (struct chooser){.pick = pick_all}, order, 0, 1, true);
	trace_free(&rehearsal.expected);
}

/* Around the sizes of a small block, a large block and a lent piece of the pattern, with the header before it.
 */
static void replies_across_every_boundary(void **state)
{
	(void)state;
	static const uint32_t lengths[] = {1, 63, 64, 65, 4055, 4056, 4057, 32727, 32728, 32729, 65535, 65536,
		65537, 131072 + 4096, 200001};
	for (uint32_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
		struct transcript transcript =
			transcript_frame(lengths[i], (uint16_t)(i * 29), i * 1234567891u);
		perform(&transcript);
	}
}

static void payloads_up_to_the_largest(void **state)
{
	(void)state;
	static const uint16_t sizes[] = {4080, 32744, 65519, 65520, 65535};
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		struct transcript transcript = transcript_frame(10, sizes[i], 5);
		size_t n;
		const uint8_t *input = transcript_input(&transcript, &n);
		struct rehearsal rehearsal = rehearse(&transcript, input, n, i % 2);
		play_dribble_and_random(&rehearsal);
		for (size_t cut = 0; cut <= n; cut += cut < 20 || cut > n - 20 ? 1 : 251)
			play_once(&rehearsal, (struct chooser){.pick = pick_first, .state = cut}, cut % ORDERS,
				0, 1, cut % 2);
		trace_free(&rehearsal.expected);
	}
}

static void echo_of_more_than_a_connection_holds(void **state)
{
	(void)state;
	struct transcript transcript = transcript_echo(150000);
	size_t n;
	const uint8_t *input = transcript_input(&transcript, &n);
	struct rehearsal rehearsal = rehearse(&transcript, input, n, true);
	play_dribble_and_random(&rehearsal);
	for (size_t cut = 0; cut <= n; cut += 4093)
		for (size_t order = 0; order < ORDERS; order++)
			play_once(&rehearsal, (struct chooser){.pick = pick_first, .state = cut}, order, 0, 1,
				cut % 2);
	trace_free(&rehearsal.expected);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(written_transcripts),
		cmocka_unit_test(a_hundred_in_a_row),
		cmocka_unit_test(a_thousand_in_a_row),
		cmocka_unit_test(bodies_across_every_boundary),
		cmocka_unit_test(heads_around_8192_bytes),
		cmocka_unit_test(names_around_1024_bytes),
		cmocka_unit_test(blocks_of_a_file),
		cmocka_unit_test(frames_in_a_row),
		cmocka_unit_test(frames_beyond_what_a_connection_holds),
		cmocka_unit_test(replies_across_every_boundary),
		cmocka_unit_test(payloads_up_to_the_largest),
		cmocka_unit_test(echo_of_more_than_a_connection_holds),
	};
	return cmocka_run_group_tests_name("transcripts", tests, NULL, NULL);
}
