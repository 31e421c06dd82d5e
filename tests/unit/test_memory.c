/* What a connection may hold: 64 KiB when its peer never reads, nothing when it is idle, and no allocation for
 * a request once the free list is warm. Try: build/tests/unit/test_memory */
#include "transcripts.h"

#include "ledger.h"
#include "unit.h"

#include <stdlib.h>
#include <string.h>

enum {
	CONNECTION_MAX = 65536,
	GROWING = 4096, /* while held input moves into a larger block, the small one is there too */
};

void play_broken(const char *promise)
{
	fail_msg("broken: %s", promise);
	abort();
}

static void take_all(struct conn *conn)
{
	while (conn_wants(conn) & CONN_SEND)
		conn_sent(conn, conn_output(conn).len);
}

/* Feeds the same n bytes over and over, in pieces of at most `piece`, as long as the connection asks for more;
 * returns how much it took. */
static size_t flood_bytes(struct conn *conn, const char *request, size_t n, size_t piece)
{
	size_t fed = 0;
	uint8_t bytes[65536];
	while (conn_wants(conn) & CONN_RECV && fed < 50 * CONNECTION_MAX) {
		size_t room = conn_room(conn), some = room < piece ? room : piece;
		for (size_t i = 0; i < some; i++)
			bytes[i] = (uint8_t)request[(fed + i) % n];
		conn_feed(conn, bytes, some);
		fed += some;
		assert_true(ledger.held <= CONNECTION_MAX);
	}
	return fed;
}

static size_t flood(struct conn *conn, const char *request, size_t piece)
{
	return flood_bytes(conn, request, strlen(request), piece);
}

/* A frame's header with the id 0. */
#define FRAME(reply, size, work, delay) reply size work "\0" delay "\0\0\0\0"

struct flooding {
	const char *what, *request;
	size_t n; /* its bytes; 0: it is a string */
	enum protocol protocol;
	uint64_t delay_ns;
	unsigned wants; /* when it asks for no more */
	size_t most;    /* bytes it may have taken */
};

static void a_peer_that_never_reads_is_bounded(void **state)
{
	(void)state;
	static const struct flooding floodings[] = {
		{"echo", "abc", 0, PROTOCOL_ECHO, 0, CONN_SEND, 65536},
		{"short replies", "GET / HTTP/1.1\nHost: x\n\n", 0, PROTOCOL_HTTP, 0, CONN_SEND, 65536},
		{"a long reply", "GET /bytes/1073741824 HTTP/1.1\nHost: x\n\n", 0, PROTOCOL_HTTP, 0, CONN_SEND,
			40000},
		{"a delay", "GET / HTTP/1.1\nHost: x\n\n", 0, PROTOCOL_HTTP, 1, CONN_PAUSE, 40000},
		{"a block of a file", "GET /file/1 HTTP/1.1\nHost: x\n\n", 0, PROTOCOL_HTTP, 0, CONN_PAUSE,
			40000},
		{"short frames", FRAME("\0\0\0\1", "\0\1", "\0\0", "\0\0\0") "x", 17, PROTOCOL_FRAME, 0,
			CONN_SEND, 65536},
		{"a long frame", FRAME("\1\0\0\0", "\0\0", "\0\0", "\0\0\0"), 16, PROTOCOL_FRAME, 0, CONN_SEND,
			40000},
		{"a delayed frame", FRAME("\1\0\0\0", "\0\0", "\0\1", "\0\0\1"), 16, PROTOCOL_FRAME, 0,
			CONN_PAUSE, 40000},
		{"work", "GET /work/9 HTTP/1.1\nHost: x\n\n", 0, PROTOCOL_HTTP, 0, CONN_PAUSE, 40000},
	};
	static const size_t pieces[] = {1, 7, 4096, 65536};
	for (size_t i = 0; i < sizeof floodings / sizeof floodings[0] * 4; i++) {
		const struct flooding *flooding = &floodings[i / 4];
		size_t n = flooding->n ? flooding->n : strlen(flooding->request);
		struct core core = {.protocol = flooding->protocol,
			.delay_ns = flooding->delay_ns,
			.loops_per_us = 1,
			.file_blocks = 2};
		struct conn conn;
		conn_open(&conn, &core);
		ledger.most_held = 0;
		size_t fed = flood_bytes(&conn, flooding->request, n, pieces[i % 4]);
		assert_true(fed > 32000 && fed <= flooding->most);
		assert_int_equal(conn_room(&conn), 0);
		assert_int_equal(conn_wants(&conn), flooding->wants);
		if (flooding->wants == CONN_PAUSE) /* for a file's block its buffer is taken now */
			assert_int_not_equal(conn_pause(&conn).kind, PAUSE_NONE);
		assert_true(ledger.most_held <= CONNECTION_MAX + GROWING);
		conn_drop(&conn);
		assert_int_equal(ledger.held, 0);
		core_free(&core);
	}
}

/* Refused and greeted peers may go on talking for ever: nothing of it is kept. */
static void what_is_discarded_needs_no_memory(void **state)
{
	(void)state;
	static const struct {
		enum protocol protocol;
		const char *first;
	} talkers[] = {{PROTOCOL_GREET, "Bob\n"}, {PROTOCOL_HTTP, "nonsense\n\n"},
		{PROTOCOL_HTTP, "GET / HTTP/1.0\n\n"}, {PROTOCOL_FRAME, "a reply far too large"}};
	for (size_t i = 0; i < sizeof talkers / sizeof talkers[0]; i++) {
		struct core core = {.protocol = talkers[i].protocol};
		struct conn conn;
		conn_open(&conn, &core);
		conn_feed(&conn, talkers[i].first, strlen(talkers[i].first));
		take_all(&conn);
		assert_int_equal(conn_wants(&conn), CONN_SHUT);
		conn_did(&conn, CONN_SHUT);
		assert_int_equal(flood(&conn, "more", 30000) / CONNECTION_MAX, 50);
		assert_int_equal(ledger.held, 0);
		assert_int_equal(conn_wants(&conn), CONN_RECV);
		conn_eof(&conn);
		assert_int_equal(conn_wants(&conn), CONN_CLOSE);
		conn_drop(&conn);
		core_free(&core);
	}
}

/* A name may come in two pieces, the second as large as the room. */
static void a_name_behind_a_held_piece_stays_within_bounds(void **state)
{
	(void)state;
	for (size_t first = 1; first <= 1025; first += 128) {
		struct core core = {.protocol = PROTOCOL_GREET};
		struct conn conn;
		conn_open(&conn, &core);
		ledger.most_held = 0;
		flood(&conn, "x", first);
		conn_drop(&conn);
		conn_open(&conn, &core);
		uint8_t bytes[65536];
		memset(bytes, 'x', sizeof bytes);
		conn_feed(&conn, bytes, first);
		conn_feed(&conn, bytes, conn_room(&conn));
		assert_true(ledger.most_held <= CONNECTION_MAX);
		conn_drop(&conn);
		core_free(&core);
	}
}

static void an_idle_connection_holds_nothing(void **state)
{
	(void)state;
	static const struct {
		enum protocol protocol;
		const char *request;
	} served[] = {{PROTOCOL_ECHO, "abc"}, {PROTOCOL_HTTP, "GET / HTTP/1.1\nHost: x\n\n"},
		{PROTOCOL_HTTP, "GET /bytes/100000 HTTP/1.1\nHost: x\n\n"}};
	assert_true(sizeof(struct conn) <= 128);
	for (size_t i = 0; i < sizeof served / sizeof served[0]; i++) {
		struct core core = {.protocol = served[i].protocol};
		struct conn conn;
		conn_open(&conn, &core);
		for (size_t cut = 1; cut < strlen(served[i].request); cut++) {
			conn_feed(&conn, served[i].request, cut);
			conn_feed(&conn, served[i].request + cut, strlen(served[i].request) - cut);
			assert_true(ledger.held > 0);
			take_all(&conn);
			assert_int_equal(ledger.held, 0);
			assert_int_equal(conn_wants(&conn), CONN_RECV);
		}
		conn_drop(&conn);
		core_free(&core);
	}
}

static void a_delayed_request_holds_nothing(void **state)
{
	(void)state;
	struct core core = {.protocol = PROTOCOL_HTTP, .delay_ns = 1};
	struct conn conn;
	conn_open(&conn, &core);
	conn_feed(&conn, "GET / HTTP/1.1\nHost: x\n\n", 24);
	assert_int_equal(conn_wants(&conn), CONN_PAUSE | CONN_RECV);
	assert_int_equal(ledger.held, 0);
	conn_did(&conn, CONN_PAUSE);
	assert_int_equal(conn_wants(&conn), CONN_SEND | CONN_RECV);
	conn_drop(&conn);
	core_free(&core);
}

/* All a frame leaves behind until its reply is due fits into the connection itself. */
static void a_frame_on_its_way_holds_nothing(void **state)
{
	(void)state;
	struct core core = {.protocol = PROTOCOL_FRAME};
	struct conn conn;
	static const char request[] = FRAME("\0\0\0\1", "\0\4", "\0\0", "\0\0\1") "abcd";
	conn_open(&conn, &core);
	for (int round = 0; round < 3; round++) {
		conn_feed(&conn, request, 1);
		assert_true(ledger.held > 0);
		conn_feed(&conn, request + 1, 17);
		assert_int_equal(ledger.held, 0);
		assert_int_equal(conn_wants(&conn), CONN_RECV);
		conn_feed(&conn, request + 18, 2);
		assert_int_equal(ledger.held, 0);
		assert_int_equal(conn_wants(&conn), CONN_PAUSE | CONN_RECV);
		conn_did(&conn, CONN_PAUSE);
		take_all(&conn);
		assert_int_equal(ledger.held, 0);
		assert_int_equal(conn_wants(&conn), CONN_RECV);
	}
	conn_drop(&conn);
	core_free(&core);
}

/* A read's buffer is the block in which its reply will leave, and goes back with it, read or not. */
static void a_file_is_read_into_its_reply(void **state)
{
	(void)state;
	struct core core = {.protocol = PROTOCOL_HTTP, .file_blocks = 1};
	struct conn conn;
	conn_open(&conn, &core);
	for (int round = 0; round < 3; round++) {
		ssize_t got = round == 1 ? -1 : 4096;
		conn_feed(&conn, "GET /file/0 HTTP/1.1\nHost: x\n\n", 30);
		struct pause pause = conn_pause(&conn);
		size_t held = ledger.held;
		memset(pause.buf, 'f', pause.len);
		conn_read(&conn, got);
		assert_int_equal(ledger.held, held);
		struct span output = conn_output(&conn);
		const uint8_t *buf = pause.buf;
		if (got > 0)
			assert_true(output.data < buf && output.data + output.len == buf + pause.len);
		take_all(&conn);
		assert_int_equal(ledger.held, 0);
	}
	conn_feed(&conn, "GET /file/0 HTTP/1.1\nHost: x\n\n", 30);
	memset(conn_pause(&conn).buf, 'f', 4096);
	conn_drop(&conn);
	assert_int_equal(ledger.held, 0);
	core_free(&core);
}

/* Done with a pause that nobody has asked about: nothing was read, and the peer is told so. */
static void a_file_that_nobody_read_is_a_failure(void **state)
{
	(void)state;
	struct core core = {.protocol = PROTOCOL_HTTP, .file_blocks = 1};
	struct conn conn;
	conn_open(&conn, &core);
	conn_feed(&conn, "GET /file/0 HTTP/1.1\nHost: x\n\n", 30);
	conn_did(&conn, CONN_PAUSE);
	assert_memory_equal(conn_output(&conn).data, "HTTP/1.1 500 ", 13);
	conn_drop(&conn);
	core_free(&core);
}

struct piece {
	const char *data;
	size_t n;
};
#define PIECE(text)                                                                                            \
	{                                                                                                      \
		text, sizeof text - 1                                                                          \
	}
#define GET(path) "GET " path " HTTP/1.1\nHost: x\n\n"

static void serve_pieces(struct core *core, const struct piece *pieces, size_t count, struct piece flooding)
{
	struct conn conn;
	conn_open(&conn, core);
	for (size_t i = 0; i < count; i++) {
		conn_feed(&conn, pieces[i].data, pieces[i].n);
		while (conn_wants(&conn) & (CONN_SEND | CONN_PAUSE)) {
			take_all(&conn);
			if (!(conn_wants(&conn) & CONN_PAUSE))
				continue;
			struct pause pause = conn_pause(&conn);
			if (pause.kind == PAUSE_FILE)
				conn_read(&conn, (ssize_t)pause.len);
			else
				conn_did(&conn, CONN_PAUSE);
		}
	}
	flood_bytes(&conn, flooding.data, flooding.n, 4096);
	conn_eof(&conn);
	conn_drop(&conn);
}

static void serve_round(struct core *core)
{
	static const struct piece texts[] = {PIECE(GET("/")), PIECE(GET("/bytes/70000")),
		PIECE(GET("/bytes/9000") GET("/delay/1") GET("/file/0") GET("/")),
		PIECE(GET("/x") "GET / HTTP/1.1"), PIECE("\nHost: x\n\n"), PIECE(GET("/file/0"))};
	static const struct piece frames[] = {PIECE(FRAME("\0\0\0\1", "\0\0", "\0\0", "\0\0\0")),
		PIECE(FRAME("\0\2\0\0", "\0\3", "\0\1", "\0\0\1") "abc\0"), PIECE("\0\0\1\0\0"),
		PIECE("\0\0\0"
		      "\0\0\0\0\0\0"
		      "\0\0")};
	if (core->protocol == PROTOCOL_FRAME)
		serve_pieces(core, frames, 4, frames[0]);
	else
		serve_pieces(core, texts, 6, texts[0]);
}

/* The greatest need, of each protocol, is met once; after that the free list serves. */
static void no_request_allocates_once_warm(void **state)
{
	(void)state;
	for (int protocol = PROTOCOL_ECHO; protocol <= PROTOCOL_FRAME; protocol++) {
		struct core core = {.protocol = (enum protocol)protocol, .file_blocks = 1};
		ledger.eager_free = false;
		serve_round(&core);
		size_t warm = ledger.allocations;
		assert_true(warm > 0);
		for (int round = 0; round < 1000; round++)
			serve_round(&core);
		assert_int_equal(ledger.allocations, warm);
		assert_int_equal(ledger.held, 0);
		core_free(&core);
	}
}

/* Where the kernel chose the amount, all of it is kept, and larger blocks do not stay in the free list. */
static void beyond_the_room_nothing_is_lost(void **state)
{
	(void)state;
	struct core core = {.protocol = PROTOCOL_ECHO};
	struct conn conn;
	struct transcript transcript = transcript_echo(1000000);
	size_t n, echoed = 0;
	const uint8_t *input = transcript_input(&transcript, &n);
	conn_open(&conn, &core);
	for (size_t fed = 0; fed < n; fed += 10000)
		conn_feed(&conn, input + fed, 10000);
	assert_int_equal(conn_room(&conn), 0);
	while (conn_wants(&conn) & CONN_SEND) {
		struct span output = conn_output(&conn);
		assert_memory_equal(output.data, input + echoed, output.len);
		echoed += output.len;
		conn_sent(&conn, output.len);
	}
	assert_int_equal(echoed, n);
	assert_int_equal(ledger.held, 0);
	for (struct block *block = core.blocks.large; block; block = block->next)
		assert_int_equal(block->size, BLOCK_LARGE);
	conn_drop(&conn);
	core_free(&core);
}

/* What the kernel delivers before it can be stopped is kept: at most twice what came on top of the room, and
 * that much only until it is sent. */
static void beyond_the_room_memory_grows_with_what_came(void **state)
{
	(void)state;
	static const size_t pieces[] = {100, 4096, 32768, 65536};
	static uint8_t bytes[65536];
	for (size_t i = 0; i < 4; i++) {
		struct core core = {.protocol = PROTOCOL_ECHO};
		struct conn conn;
		conn_open(&conn, &core);
		ledger.most_held = 0;
		flood_bytes(&conn, "abc", 3, 4096);
		for (size_t beyond = pieces[i]; beyond <= 1 << 21; beyond += pieces[i]) {
			conn_feed(&conn, bytes, pieces[i]);
			assert_true(ledger.most_held <= 2 * CONNECTION_MAX + 2 * beyond);
		}
		assert_true(ledger.held > 1 << 21);
		take_all(&conn);
		assert_int_equal(ledger.held, 0);
		conn_drop(&conn);
		core_free(&core);
	}
}

static void a_drop_at_any_time_gives_everything_back(void **state)
{
	(void)state;
	for (size_t i = 0; i < transcript_count; i++) {
		size_t n;
		const uint8_t *input = transcript_input(&transcripts[i], &n);
		struct core core = transcript_core(&transcripts[i]);
		for (size_t limit = 1; limit < 200; limit++) {
			struct trace trace = {.limit = limit};
			struct style style = {{.pick = pick_random, .state = limit}, {.pick = pick_one},
				{.pick = pick_random, .state = limit + i}, false};
			play(&core, (struct script){input, n, false}, style, &trace);
			assert_int_equal(ledger.held, 0);
			trace_free(&trace);
		}
	}
}

/* Requests that were held behind the last one served are discarded with its reply, not with the connection. */
static void what_was_held_behind_the_end_is_given_back(void **state)
{
	(void)state;
	static const char *const lasts[] = {"GET /delay/1 HTTP/1.0\n\nheld",
		"GET /delay/1 HTTP/1.1\nHost: x\n\nPOST / HTTP/1.1\nHost: x\n\nheld"};
	for (size_t i = 0; i < sizeof lasts / sizeof lasts[0]; i++) {
		struct core core = {.protocol = PROTOCOL_HTTP};
		struct conn conn;
		conn_open(&conn, &core);
		conn_feed(&conn, lasts[i], strlen(lasts[i]));
		assert_true(ledger.held > 0);
		conn_did(&conn, CONN_PAUSE);
		take_all(&conn);
		assert_int_equal(conn_wants(&conn), CONN_SHUT);
		assert_int_equal(ledger.held, 0);
		conn_drop(&conn);
		core_free(&core);
	}
}

static size_t spare(const struct blocks *blocks)
{
	size_t n = 0;
	for (const struct block *block = blocks->small; block; block = block->next)
		n++;
	for (const struct block *block = blocks->large; block; block = block->next)
		n++;
	return n;
}

/* One worker reads, another one sends: the blocks wander from the first to the second, and must not pile up. */
static void connections_that_wander_leave_no_pile(void **state)
{
	(void)state;
	static const char *const begins[] = {"GET / HTTP/1.1\nHo", "GET /bytes/9000 HTTP/1.1\nHost: x\n\nGET"};
	static const char *const ends[] = {"st: x\n\n", " / HTTP/1.1\nHost: x\n\n"};
	static struct conn conns[500];
	struct core reader = {.protocol = PROTOCOL_HTTP}, sender = {.protocol = PROTOCOL_HTTP};
	for (size_t i = 0; i < 500; i++) {
		conn_open(&conns[i], &reader);
		conn_feed(&conns[i], begins[i % 2], strlen(begins[i % 2]));
	}
	for (size_t i = 0; i < 500; i++) {
		conn_move(&conns[i], &sender);
		conn_feed(&conns[i], ends[i % 2], strlen(ends[i % 2]));
		take_all(&conns[i]);
		assert_int_equal(conn_wants(&conns[i]), CONN_RECV);
		assert_true(spare(&sender.blocks) <= 4 + 2); /* what it keeps, and what one gives back */
	}
	assert_int_equal(reader.requests + sender.requests, 250 * 1 + 250 * 2);
	assert_int_equal(ledger.held, 0);
	core_free(&reader);
	core_free(&sender);
}

/* A test that failed leaves its connections behind: that is no fault of the next one. */
static int set_up(void **state)
{
	(void)state;
	ledger = (struct ledger){0};
	return 0;
}
#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_peer_that_never_reads_is_bounded),
		TEST(what_is_discarded_needs_no_memory),
		TEST(a_name_behind_a_held_piece_stays_within_bounds),
		TEST(an_idle_connection_holds_nothing),
		TEST(a_delayed_request_holds_nothing),
		TEST(a_frame_on_its_way_holds_nothing),
		TEST(a_file_is_read_into_its_reply),
		TEST(a_file_that_nobody_read_is_a_failure),
		TEST(no_request_allocates_once_warm),
		TEST(beyond_the_room_nothing_is_lost),
		TEST(beyond_the_room_memory_grows_with_what_came),
		TEST(what_was_held_behind_the_end_is_given_back),
		TEST(connections_that_wander_leave_no_pile),
		TEST(a_drop_at_any_time_gives_everything_back),
	};
	return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
