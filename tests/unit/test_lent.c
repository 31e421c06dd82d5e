/* Output is lent: it keeps its place and its bytes until conn_sent() covers it, whatever arrives meanwhile.
 * Try: build/tests/unit/test_lent */
#include "play.h"

#include "ledger.h"
#include "unit.h"

#include <stdlib.h>
#include <string.h>

static uint8_t copy[1 << 17]; /* what was lent, as it was */

void play_broken(const char *promise)
{
	fail_msg("broken: %s", promise);
	abort();
}

static struct span lend(const struct conn *conn)
{
	struct span lent = conn_output(conn);
	assert_true(lent.len > 0 && lent.len <= sizeof copy);
	memcpy(copy, lent.data, lent.len);
	return lent;
}

static void assert_unmoved(const struct conn *conn, struct span lent)
{
	struct span now = conn_output(conn);
	assert_ptr_equal(now.data, lent.data);
	assert_true(now.len >= lent.len);
	assert_memory_equal(lent.data, copy, lent.len);
}

/* Feeds pieces of random sizes until no more is wanted, then far more; the kernel is sending all the while. The
 * kernel takes only a part: the rest stays as well. */
static void feed_while_lent(struct conn *conn, const char *request, uint64_t seed)
{
	struct chooser size = {.pick = pick_random, .state = seed};
	uint8_t bytes[20000];
	size_t n = strlen(request), fed = 0;
	struct span lent = lend(conn);
	for (int beyond = 0, pieces = 0; beyond < 40; pieces++) {
		assert_true(pieces < 65536 + 40); /* the room comes to its end */
		size_t room = conn_room(conn), some = size.pick(&size, sizeof bytes);
		if (room == 0)
			beyond++;
		else if (some > room)
			some = room;
		for (size_t i = 0; i < some; i++)
			bytes[i] = (uint8_t)request[(fed + i) % n];
		fed += some;
		conn_feed(conn, bytes, some);
		assert_unmoved(conn, lent);
		if (lent.len > 1 && some % 3 == 0) {
			conn_sent(conn, lent.len / 2);
			lent.data += lent.len / 2;
			lent.len -= lent.len / 2;
			memcpy(copy, lent.data, lent.len);
			assert_unmoved(conn, lent);
		}
	}
}

static void in_echo(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed < 60; seed++) {
		struct core core = {.protocol = PROTOCOL_ECHO};
		struct conn conn;
		conn_open(&conn, &core);
		for (int turn = 0; turn < 3; turn++) {
			conn_feed(&conn, "0123456789", 10);
			feed_while_lent(&conn, "some bytes and more", seed);
			while (conn_wants(&conn) & CONN_SEND)
				conn_sent(&conn, conn_output(&conn).len);
		}
		conn_drop(&conn);
		core_free(&core);
	}
	assert_int_equal(ledger.held, 0);
}

static void in_replies(void **state)
{
	(void)state;
	static const char request[] = "GET /bytes/100 HTTP/1.1\r\nHost: x\r\n\r\n";
	for (uint64_t seed = 1; seed < 60; seed++) {
		struct core core = {.protocol = PROTOCOL_HTTP};
		struct conn conn;
		conn_open(&conn, &core);
		conn_feed(&conn, request, sizeof request - 1);
		feed_while_lent(&conn, request, seed);
		conn_drop(&conn);
		core_free(&core);
	}
	assert_int_equal(ledger.held, 0);
}

static void in_generated_bodies(void **state)
{
	(void)state;
	static const char request[] = "GET /bytes/1073741824 HTTP/1.1\r\nHost: x\r\n\r\n";
	for (uint64_t at = 0; at < 200; at++) {
		struct core core = {.protocol = PROTOCOL_HTTP};
		struct conn conn;
		conn_open(&conn, &core);
		conn_feed(&conn, request, sizeof request - 1);
		while (conn.out) /* the head and what came with it */
			conn_sent(&conn, conn_output(&conn).len);
		conn_sent(&conn, (size_t)at + 1);
		struct span lent = lend(&conn);
		for (int i = 0; i < 10; i++) {
			conn_feed(&conn, request, sizeof request - 1);
			assert_unmoved(&conn, lent);
		}
		conn_drop(&conn);
		core_free(&core);
	}
	assert_int_equal(ledger.held, 0);
}

/* The longest body, byte for byte. */
static void a_body_of_one_gibibyte(void **state)
{
	(void)state;
	static const char request[] = "GET /bytes/1073741824 HTTP/1.1\r\nHost: x\r\n\r\n";
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	static const char head[] =
		"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1073741824\r\n\r\n";
	for (size_t i = 0; i < sizeof copy; i++)
		copy[i] = (uint8_t)letters[i % 64];
	struct core core = {.protocol = PROTOCOL_HTTP};
	struct conn conn;
	conn_open(&conn, &core);
	conn_feed(&conn, request, sizeof request - 1);
	assert_memory_equal(conn_output(&conn).data, head, sizeof head - 1);
	conn_sent(&conn, sizeof head - 1);
	uint64_t sent = 0;
	while (conn_wants(&conn) & CONN_SEND) {
		struct span output = conn_output(&conn);
		assert_true(output.len <= 65536);
		assert_memory_equal(output.data, copy + sent % 64, output.len);
		conn_sent(&conn, output.len);
		sent += output.len;
	}
	assert_int_equal(sent, UINT64_C(1) << 30);
	conn_drop(&conn);
	core_free(&core);
}

/* The longest frame, from an id that is no period's beginning: all but its first block lies in the pattern. */
static void a_frame_of_16_mib(void **state)
{
	(void)state;
	static const char request[16] = "\1\0\0\0\0\0\0\0\0\0\0\0\0\0\1\x5";
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	for (size_t i = 0; i < sizeof copy; i++)
		copy[i] = (uint8_t)letters[i % 64];
	struct core core = {.protocol = PROTOCOL_FRAME};
	struct conn conn;
	conn_open(&conn, &core);
	conn_feed(&conn, request, sizeof request);
	assert_true(ledger.held <= 4096);
	assert_memory_equal(conn_output(&conn).data, request, sizeof request);
	conn_sent(&conn, sizeof request);
	uint64_t sent = 0;
	const uint8_t *lowest = (const uint8_t *)UINTPTR_MAX, *highest = NULL;
	while (conn_wants(&conn) & CONN_SEND) {
		struct span output = conn_output(&conn);
		assert_true(output.len <= 65536);
		assert_memory_equal(output.data, copy + (0x105 + sent) % 64, output.len);
		if (ledger.held == 0) { /* the block with the header has gone: what is left is lent */
			lowest = output.data < lowest ? output.data : lowest;
			highest = output.data + output.len > highest ? output.data + output.len : highest;
		} else {
			assert_true(sent < 4096);
		}
		conn_sent(&conn, output.len > 12345 ? 12345 : output.len);
		sent += output.len > 12345 ? 12345 : output.len;
	}
	assert_int_equal(sent, 1 << 24);
	assert_true((size_t)(highest - lowest) <= 65536 + 64);
	conn_drop(&conn);
	core_free(&core);
}

static size_t sends(struct conn *conn)
{
	size_t n = 0;
	for (; conn_wants(conn) & CONN_SEND; n++)
		conn_sent(conn, conn_output(conn).len);
	return n;
}

/* What is owed together leaves together: each send is a system call, which costs more than copying. */
static void replies_leave_in_as_few_sends_as_they_can(void **state)
{
	(void)state;
	static const struct {
		const char *requests;
		size_t sends;
	} batches[] = {
		{"GET / HTTP/1.1\nHost: x\n\n", 1},
		{"GET / HTTP/1.1\nHost: x\n\nGET / HTTP/1.1\nHost: x\n\nGET / HTTP/1.1\nHost: x\n\n", 1},
		{"GET /delay/1 HTTP/1.1\nHost: x\n\nGET / HTTP/1.1\nHost: x\n\nGET / HTTP/1.1\nHost: x\n\n", 1},
		{"GET /bytes/5000 HTTP/1.1\nHost: x\n\n", 1},
		{"GET /bytes/32000 HTTP/1.1\nHost: x\n\n", 1},
		{"HEAD /bytes/1073741824 HTTP/1.1\nHost: x\n\n", 1},
		{"GET /bytes/65536 HTTP/1.1\nHost: x\n\n", 2},
		{"GET /bytes/131072 HTTP/1.1\nHost: x\n\n", 3},
	};
	for (size_t i = 0; i < sizeof batches / sizeof batches[0]; i++) {
		struct core core = {.protocol = PROTOCOL_HTTP};
		struct conn conn;
		conn_open(&conn, &core);
		conn_feed(&conn, batches[i].requests, strlen(batches[i].requests));
		if (conn_wants(&conn) & CONN_PAUSE)
			conn_did(&conn, CONN_PAUSE);
		assert_int_equal(sends(&conn), batches[i].sends);
		assert_int_equal(conn_wants(&conn), CONN_RECV);
		conn_drop(&conn);
		core_free(&core);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_echo),
		cmocka_unit_test(in_replies),
		cmocka_unit_test(in_generated_bodies),
		cmocka_unit_test(replies_leave_in_as_few_sends_as_they_can),
		cmocka_unit_test(a_body_of_one_gibibyte),
		cmocka_unit_test(a_frame_of_16_mib),
	};
	return cmocka_run_group_tests_name("lent output", tests, NULL, NULL);
}
