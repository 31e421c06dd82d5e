#include "play.h"

#include "guard.h"

#include <stdlib.h>
#include <string.h>

enum { PEEK = 64 }; /* bytes looked at, at both ends of a lent span */

size_t pick_all(struct chooser *chooser, size_t most)
{
	(void)chooser;
	return most;
}

size_t pick_one(struct chooser *chooser, size_t most)
{
	(void)chooser, (void)most;
	return 1;
}

size_t pick_random(struct chooser *chooser, size_t most)
{
	uint64_t x = chooser->state; /* xorshift64 */
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	chooser->state = x;
	if (most > 16 && x >> 62) /* three times of four a small number */
		most = 16;
	return 1 + (size_t)(x % most);
}

size_t pick_first(struct chooser *chooser, size_t most)
{
	size_t first = chooser->state < most ? (size_t)chooser->state : most;
	chooser->state -= first;
	return first ? first : most;
}

size_t pick_listed(struct chooser *chooser, size_t most)
{
	if (chooser->listed == 0)
		return most;
	uint8_t byte = chooser->bytes[chooser->state++ % chooser->listed];
	size_t wish =
		byte < 'a' ? (size_t)byte % 32 + 1 : (size_t)byte * byte; /* '0' is 17, 'A' 2, 'a' 9,409 */
	return wish < most ? wish : most;
}

static void require(bool kept, const char *promise)
{
	if (!kept)
		play_broken(promise);
}

static void *grow(void *array, size_t *capacity, size_t needed, size_t size)
{
	if (needed <= *capacity)
		return array;
	*capacity = 2 * needed + 64;
	array = realloc(array, *capacity * size);
	require(array != NULL, "the test has memory");
	return array;
}

void trace_add(struct trace *trace, const void *bytes, size_t n)
{
	if (n == 0)
		return;
	trace->out = grow(trace->out, &trace->capacity, trace->n + n, 1);
	memcpy(trace->out + trace->n, bytes, n);
	trace->n += n;
}

void trace_add_pause(struct trace *trace, struct pause pause)
{
	trace->pauses =
		grow(trace->pauses, &trace->pause_capacity, trace->pause_count + 1, sizeof *trace->pauses);
	trace->pauses[trace->pause_count].pause = pause;
	trace->pauses[trace->pause_count++].at = trace->n;
}

void trace_free(struct trace *trace)
{
	free(trace->out);
	free(trace->pauses);
	*trace = (struct trace){0};
}

static size_t held(const struct conn *conn)
{
	size_t in = conn->in ? sizeof *conn->in + conn->in->size : 0;
	return in + (conn->out ? sizeof *conn->out + conn->out->size : 0);
}

static unsigned checked_wants(const struct conn *conn)
{
	unsigned wants = conn_wants(conn);
	unsigned rest = wants & ~(unsigned)CONN_RECV;
	require(wants != 0, "a connection always wants something");
	require((rest & (rest - 1)) == 0, "of SEND, PAUSE, SHUT and CLOSE it wants one at a time");
	require(!(wants & CONN_RECV) || (rest & (CONN_SHUT | CONN_CLOSE)) == 0, "SHUT and CLOSE come alone");
	require(!(wants & CONN_RECV) || conn_room(conn) > 0, "wanting RECV means room");
	require(!(wants & CONN_RECV) || !conn->eof, "nothing is received after the end of the stream");
	require(!(wants & CONN_SEND) == (conn_output(conn).len == 0),
		"SEND is wanted exactly while output is there");
	require(!(wants & CONN_PAUSE) == (conn->pause.kind == PAUSE_NONE || (wants & CONN_SEND)),
		"a pause begins when all before it is sent");
	return wants;
}

/* What the kernel may hold of the output while other things happen. */
struct lent {
	struct span span;
	uint8_t begin[PEEK], end[PEEK];
};

static struct lent lend(const struct conn *conn)
{
	struct lent lent = {.span = conn_output(conn)};
	size_t n = lent.span.len < PEEK ? lent.span.len : PEEK;
	if (n > 0) {
		memcpy(lent.begin, lent.span.data, n);
		memcpy(lent.end, lent.span.data + lent.span.len - n, n);
	}
	return lent;
}

static void check_lent(const struct conn *conn, const struct lent *lent)
{
	struct span now = conn_output(conn);
	size_t n = lent->span.len < PEEK ? lent->span.len : PEEK;
	if (n == 0)
		return;
	require(now.data == lent->span.data && now.len >= lent->span.len, "lent output stays where it is");
	require(memcmp(now.data, lent->begin, n) == 0 &&
			memcmp(now.data + lent->span.len - n, lent->end, n) == 0,
		"lent output stays as it is");
}

/* The piece stands against a forbidden page and is overwritten afterwards: the core may neither read beyond it
 * nor come back to it. */
static size_t feed(struct conn *conn, const uint8_t *data, size_t n, bool before)
{
	uint8_t *piece = before ? guard_before(data, n) : guard_behind(data, n);
	struct lent lent = lend(conn);
	conn_feed(conn, piece, n);
	memset(piece, 0xee, n);
	check_lent(conn, &lent);
	return n;
}

static size_t piece_size(const struct conn *conn, struct style *style, size_t left)
{
	size_t room = conn_room(conn);
	return style->piece.pick(&style->piece, style->beyond_room || left < room ? left : room);
}

static void send_some(struct conn *conn, struct style *style, struct trace *trace)
{
	struct span output = conn_output(conn);
	size_t n = style->taken.pick(&style->taken, output.len);
	trace_add(trace, output.data, n);
	conn_sent(conn, n);
	if (n < output.len) {
		struct span rest = conn_output(conn);
		require(rest.len > 0 && rest.data[0] == output.data[n], "the rest of the output follows");
	}
}

uint8_t play_file_byte(uint64_t at)
{
	return (uint8_t)(at * 2654435761u >> 24);
}

static size_t readable(const struct pause *pause, ssize_t *got)
{
	uint64_t block = pause->amount / PLAY_FILE_BLOCK;
	*got = block == PLAY_FILE_FAILS ? -1 : block == PLAY_FILE_ENDS ? 0 : PLAY_FILE_BLOCK;
	if (block == PLAY_FILE_IS_CUT)
		*got = PLAY_FILE_BLOCK - 1;
	return *got > 0 ? (size_t)*got : 0;
}

/* Carries out a read as the kernel does: into memory that was lent to it some time ago. Every other one tells
 * of it as pause_here() does. */
static void read_file(struct conn *conn, struct pause pause)
{
	ssize_t got;
	size_t n = readable(&pause, &got);
	require(pause.fd == PLAY_FILE_FD && pause.len == PLAY_FILE_BLOCK, "it reads a block of the file");
	require(pause.amount % PLAY_FILE_BLOCK == 0 && (uintptr_t)pause.buf % PLAY_FILE_BLOCK == 0,
		"a read is aligned as O_DIRECT wants it");
	for (size_t i = 0; i < n; i++)
		((uint8_t *)pause.buf)[i] = play_file_byte(pause.amount + i);
	if (pause.amount / PLAY_FILE_BLOCK % 2) {
		conn_read(conn, got);
	} else {
		*pause.got = got;
		conn_did(conn, CONN_PAUSE);
	}
}

/* `lent`: the buffer of the read that is under way, which stays in place. */
static void check_pause(struct conn *conn, unsigned wants, const void **lent)
{
	if (!(wants & CONN_PAUSE)) {
		*lent = NULL;
		return;
	}
	struct pause pause = conn_pause(conn);
	require(!*lent || *lent == pause.buf, "a read's buffer stays where it is");
	*lent = pause.buf;
}

static void take_pause(struct conn *conn, struct trace *trace)
{
	struct pause pause = conn_pause(conn);
	trace_add_pause(trace, pause);
	if (pause.kind == PAUSE_FILE)
		read_file(conn, pause);
	else
		conn_did(conn, CONN_PAUSE);
}

/* Reading comes first in the list, so that a chooser that always answers 1 reads as far ahead as it may, and
 * one that answers with the most finishes everything before it reads on. */
static unsigned next_turn(struct style *style, unsigned wants, bool more)
{
	unsigned may[2];
	size_t n = 0;
	if (wants & CONN_RECV && more)
		may[n++] = CONN_RECV;
	if (wants & ~(unsigned)CONN_RECV)
		may[n++] = wants & ~(unsigned)CONN_RECV;
	return n ? may[style->turn.pick(&style->turn, n) - 1] : 0;
}

void play(const struct core *options, struct script script, struct style style, struct trace *trace)
{
	struct core core = *options;
	struct conn conn;
	size_t at = 0, pieces = 0;
	const void *lent = NULL;
	conn_open(&conn, &core);
	while (trace->limit == 0 || trace->n < trace->limit) {
		unsigned wants = checked_wants(&conn);
		bool more = at < script.n || (script.eof && !conn.eof);
		unsigned turn = next_turn(&style, wants, more);
		check_pause(&conn, wants, &lent);
		if (turn == 0 || turn == CONN_CLOSE)
			break;
		if (turn == CONN_RECV && at < script.n)
			at += feed(&conn, script.data + at, piece_size(&conn, &style, script.n - at),
				pieces++ % 2);
		else if (turn == CONN_RECV)
			conn_eof(&conn);
		else if (turn == CONN_SEND)
			send_some(&conn, &style, trace);
		else if (turn == CONN_PAUSE)
			take_pause(&conn, trace), lent = NULL;
		if (turn == CONN_SHUT) {
			conn_did(&conn, CONN_SHUT);
			trace->shut = true;
		}
		require(style.beyond_room || held(&conn) <= 65536, "within its room a connection holds 64 KiB");
	}
	trace->wants = conn_wants(&conn);
	trace->requests = core.requests;
	conn_drop(&conn);
	require(held(&conn) == 0, "a dropped connection holds nothing");
	core_free(&core);
}
