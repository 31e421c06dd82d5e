/* frame: what a request costs stands in its header, so one server serves any mixture. docs/protocols.md has the
 * bytes. */
#include "body.h"
#include "protocol.h"

enum {
	HEADER = 16,
	REPLY_MAX = 1 << 24,
	FLAG_CLOSE = 1,
};

static uint32_t get_number(const uint8_t *at, size_t bytes)
{
	uint32_t number = 0;
	while (bytes-- > 0)
		number = number << 8 | *at++;
	return number;
}

static void put_number(uint8_t *at, uint32_t number)
{
	for (int shift = 24; shift >= 0; shift -= 8)
		*at++ = (uint8_t)(number >> shift);
}

/* False if it is malformed. */
static bool read_header(struct frame *frame, const uint8_t *header)
{
	*frame = (struct frame){
		.reply = get_number(header, 4),
		.payload_left = (uint16_t)get_number(header + 4, 2),
		.work_us = (uint16_t)get_number(header + 6, 2),
		.close = header[8] == FLAG_CLOSE,
		.delay_us = get_number(header + 9, 3),
		.id = get_number(header + 12, 4),
		.begun = true,
	};
	return frame->reply <= REPLY_MAX && (header[8] & ~FLAG_CLOSE) == 0;
}

/* The reply counts the endless pattern from the request's id, so that a body under another id shows. */
static void write_reply(struct conn *conn, bool more)
{
	struct frame *frame = &conn->frame;
	struct block *out = body_block(conn, HEADER + (uint64_t)frame->reply, more);
	uint8_t header[HEADER] = {0};
	put_number(header, frame->reply);
	put_number(header + 12, frame->id);
	block_append(out, header, HEADER);
	body_write(conn, out, frame->id, (uint64_t)frame->id + frame->reply);
	conn->closing = frame->close;
	frame->begun = false;
}

/* The delay, then the work, then the reply: each is taken out of the request when its turn has come. */
static void go_on(struct conn *conn, bool more)
{
	struct frame *frame = &conn->frame;
	const struct core *core = conn->core;
	if (frame->delay_us > 0) {
		conn->pause = pause_delay(core, frame->delay_us * UINT64_C(1000));
		frame->delay_us = 0;
	} else if (frame->work_us > 0) {
		conn->pause = (struct pause){.kind = PAUSE_WORK, .amount = frame->work_us * core->loops_per_us};
		frame->work_us = 0;
	} else {
		write_reply(conn, more);
	}
}

/* A payload is discarded as it comes: however its request is cut, no more than half a header is held. */
size_t frame_take(struct conn *conn, const uint8_t *data, size_t n)
{
	struct frame *frame = &conn->frame;
	size_t at = 0;
	while (body_ready(conn, HEADER)) {
		if (!frame->begun) {
			if (n - at < HEADER)
				break;
			if (!read_header(frame, data + at)) {
				conn->core->requests++;
				conn->closing = true;
				break;
			}
			at += HEADER;
		}
		size_t payload = frame->payload_left < n - at ? frame->payload_left : n - at;
		at += payload;
		frame->payload_left = (uint16_t)(frame->payload_left - payload);
		if (frame->payload_left > 0)
			break;
		conn->core->requests++;
		go_on(conn, at < n);
	}
	return at;
}

void frame_resume(struct conn *conn)
{
	go_on(conn, conn->in != NULL);
}
