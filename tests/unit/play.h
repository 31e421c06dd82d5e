/* Plays a client's bytes to a connection as a server would, and records what comes of it.
 *
 * Three things depend on timing in a real server: how the bytes are cut into pieces, how much of its output the
 * kernel takes at once, and what is done first where several things may be. A chooser decides each, and none of
 * them may make a difference. On the way every promise of conn.h is checked that can be seen from outside.
 */
#ifndef PLAY_H
#define PLAY_H

#include "conn.h"

struct chooser {
	size_t (*pick)(struct chooser *, size_t most); /* a number from 1 to most */
	uint64_t state;
	const uint8_t *bytes; /* for pick_listed: `listed` of them, used in a circle */
	size_t listed;
};

size_t pick_all(struct chooser *, size_t most);
size_t pick_one(struct chooser *, size_t most);
size_t pick_random(struct chooser *, size_t most); /* state: the seed, not 0; small numbers are likelier */
size_t pick_first(struct chooser *, size_t most);  /* state: the first answer, then all */
size_t pick_listed(struct chooser *, size_t most);

struct style {
	struct chooser piece; /* bytes of the next feed */
	struct chooser taken; /* bytes of the next send */
	struct chooser turn; /* what is done next, of what is wanted: reading comes first, the rest behind it */
	bool beyond_room; /* as where the kernel chooses the amount: pieces are not kept within conn_room() */
};

struct script {
	const uint8_t *data;
	size_t n;
	bool eof; /* after them */
};

struct trace {
	uint8_t *out;
	size_t n, capacity;
	size_t limit; /* stop when this much came out; 0: no limit */
	struct {
		struct pause pause;
		size_t at; /* bytes sent before */
	} * pauses;
	size_t pause_count, pause_capacity;
	bool shut;
	unsigned wants; /* at the end */
	uint64_t requests;
};

/* The file that a connection reads from, if its core has one; some of its blocks cannot be read as wanted. */
enum {
	PLAY_FILE_FD = 33,
	PLAY_FILE_BLOCK = 4096,
	PLAY_FILE_BLOCKS = 8,
	PLAY_FILE_FAILS = 5,  /* that block with an error */
	PLAY_FILE_ENDS = 6,   /* that one with nothing */
	PLAY_FILE_IS_CUT = 7, /* that one with a byte too few */
};
uint8_t play_file_byte(uint64_t at);

/* Opens a connection, plays until the script is used up and nothing is left to do, drops it. The core's options
 * are copied. */
void play(const struct core *options, struct script, struct style, struct trace *);

void trace_add(struct trace *, const void *bytes, size_t n);
void trace_add_pause(struct trace *, struct pause);
void trace_free(struct trace *);

/* A promise of conn.h is broken. Each user of this file defines it; it does not return. */
_Noreturn void play_broken(const char *promise);

#endif
