/* write_room: how often does a write find no room?
 *
 * A write to a socket copies into the kernel's buffers and returns; what does not fit has to wait. A reply fits
 * that is smaller than what the sender may buffer and the receiver takes meanwhile: some hundred kilobytes on a
 * fresh connection over loopback, some megabytes once the buffers have grown. So small replies do not wait, nor
 * do some of them one behind the other while a reader is late; large ones do, however quick the reader.
 *
 * The prompt reader takes each reply at once, the late one reads after every eighth. Where there is no room,
 * the page has the reader read, as it would in its own time, and goes on with the rest. `no_room` is the share
 * of writes that took none, or not all, of what they were given.
 * Takes about 0.6 s.
 */
#include "probe.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LARGEST = 8 << 20, BYTES_IN_ALL = 64 << 20, REPLIES_MOST = 2000, PROMPT = 1, LATE = 8 };

static char reply[LARGEST];

struct connection {
	int sender, reader;
	size_t unread;
	int writes, no_room;
};

/* Until all that was sent is read. Loopback may take a moment to bring it. */
static void read_all(struct connection *c)
{
	while (c->unread > 0) {
		if (!probe_ready(c->reader, POLLIN, 1000))
			probe_fail("%zu bytes over loopback did not arrive within a second", c->unread);
		c->unread -= probe_drain(c->reader);
	}
}

static void send_reply(struct connection *c, size_t bytes)
{
	for (size_t done = 0; done < bytes;) {
		ssize_t n = send(c->sender, reply + done, bytes - done, 0);
		if (n < 0 && errno != EAGAIN)
			probe_fail("send: %s", strerror(errno));
		size_t taken = n > 0 ? (size_t)n : 0;
		c->writes++;
		c->unread += taken;
		if (taken == bytes - done)
			return;
		done += taken;
		c->no_room++;
		read_all(c);
	}
}

static double no_room(size_t bytes, int replies, int read_every)
{
	int pair[2];
	probe_tcp_pair(pair);
	struct connection c = {.sender = pair[0], .reader = pair[1]};
	probe_nonblock(c.sender, true);
	probe_nonblock(c.reader, true);
	for (int i = 1; i <= replies; i++) {
		send_reply(&c, bytes);
		if (i % read_every == 0)
			read_all(&c);
	}
	close(c.sender);
	close(c.reader);
	return (double)c.no_room / c.writes;
}

int main(int argc, char **argv)
{
	static const size_t sizes[] = {64, 1024, 16384, 131072, 1 << 20, LARGEST};
	probe_begin(argc, argv, "",
		"The share of writes that find no room, by the size of replies and the reader's haste.");
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		char key[32];
		size_t fit = BYTES_IN_ALL / sizes[i];
		int replies = fit < REPLIES_MOST ? (int)fit : REPLIES_MOST;
		snprintf(key, sizeof key, "of_%zu_bytes", sizes[i]);
		facts_open(key);
		fact_int("replies", replies);
		fact_real("prompt", no_room(sizes[i], replies, PROMPT));
		fact_real("late", no_room(sizes[i], replies, LATE));
		facts_close();
	}
	return probe_end();
}
