/* greet: a name in, `Hello NAME` out after the delay, then a clean close. */
#include "protocol.h"

#include <string.h>

enum { NAME_MAX_BYTES = 1024 };

static void begin(struct conn *conn, const uint8_t *name, size_t n)
{
	struct core *core = conn->core;
	core->requests++;
	conn->closing = true; /* whatever follows the name is discarded */
	if (n > NAME_MAX_BYTES)
		return;
	struct block *out = block_get(&core->blocks, n + sizeof "Hello \n");
	block_append(out, "Hello ", 6);
	block_append(out, name, n);
	block_append(out, "\n", 1);
	conn->out = out;
	conn->pause = pause_delay(core, core->delay_ns);
	if (conn->pause.kind != PAUSE_NONE)
		out->begin = out->end; /* written, but not owed before greet_resume() */
}

size_t greet_take(struct conn *conn, const uint8_t *data, size_t n)
{
	const uint8_t *newline = memchr(data, '\n', n);
	size_t name = newline ? (size_t)(newline - data) : n;
	if (!newline && n <= NAME_MAX_BYTES + 1) /* one more: a carriage return may stand before the newline */
		return 0;
	if (newline && name > 0 && data[name - 1] == '\r')
		name--;
	begin(conn, data, name);
	return n;
}

void greet_eof(struct conn *conn)
{
	struct block *in = conn->in;
	if (block_used(in) == 0)
		return;
	begin(conn, in->data + in->begin, block_used(in));
	block_put(&conn->core->blocks, in);
	conn->in = NULL;
}

void greet_resume(struct conn *conn)
{
	conn->out->begin = 0;
}
