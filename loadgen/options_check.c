/* What cannot be, said before the run, with what would be right. */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "options.h"

enum {
	MAX_GREETING = 1025,             /* a name of 1024 bytes, and its newline */
	MAX_FRAME_SIZE = 65535,          /* bytes, 16 bits */
	MAX_FRAME_WORK = 65535,          /* microseconds, 16 bits */
	MAX_FRAME_DELAY = (1 << 24) - 1, /* microseconds, 24 bits */
	DEFAULT_FRAME_REPLY = 64,
};

static bool check_required(const struct options *o, char *why, size_t size)
{
	if (!o->target)
		return options_wrong(
			why, size, "--target is missing: give the server's address, such as 127.0.0.1:8080");
	if (o->protocol == UINT32_MAX)
		return options_wrong(why, size,
			"--protocol is missing: say what the server speaks: echo, greet, http, frame or raw");
	if (o->connections == 0)
		return options_wrong(why, size, "--connections is missing: say how many, such as 50");
	if (o->threads > o->connections)
		return options_wrong(why, size,
			"--threads %" PRIu64 ": more than --connections %" PRIu64 "; each thread needs one",
			o->threads, o->connections);
	return true;
}

/* Options that belong to one mode. */
static bool check_mode(struct options *o, char *why, size_t size)
{
	static const char *const open_only[] = {"arrival", "shed"};

	if (o->rate_text && !options_given(o, "mode"))
		o->mode = MODE_OPEN;
	if (o->find_ppm && (o->rate_text || options_given(o, "mode") || options_given(o, "timeline")))
		return options_wrong(why, size,
			"--find-rate chooses mode and rate itself, and its many runs have no timeline: leave "
			"--rate, --mode and --timeline out");
	if (o->find_ppm && options_given(o, "think"))
		return options_wrong(
			why, size, "--think belongs to --mode closed, and --find-rate searches in open loop");
	if (o->find_ppm)
		return true;
	if (o->mode == MODE_CLOSED) {
		if (o->rate_text)
			return options_wrong(why, size,
				"--rate belongs to --mode open; closed loop takes its rate from the replies");
		for (size_t i = 0; i < sizeof(open_only) / sizeof(open_only[0]); i++)
			if (options_given(o, open_only[i]))
				return options_wrong(why, size, "--%s belongs to --mode open", open_only[i]);
		return true;
	}
	if (!o->rate_text)
		return options_wrong(why, size, "--mode open needs --rate, such as --rate 10k");
	if (options_given(o, "think"))
		return options_wrong(
			why, size, "--think belongs to --mode closed; in open loop the schedule decides");
	return true;
}

static bool check_rate(struct options *o, char *why, size_t size)
{
	if (o->mode != MODE_OPEN)
		return true;
	if (!profile_parse(&o->rate, o->rate_text, o->duration_ns))
		return options_wrong(why, size,
			"--rate %s: expected R, R:TIME or FROM:TO:TIME, separated by commas, such as "
			"10k or 10k:100k:10s",
			o->rate_text);
	uint64_t length_ns = profile_length_ns(&o->rate);
	if (!options_given(o, "duration"))
		o->duration_ns = length_ns;
	if (length_ns != o->duration_ns)
		return options_wrong(why, size,
			"--rate %s lasts %.3f s, --duration %.3f s; leave --duration out or make them agree",
			o->rate_text, (double)length_ns / 1e9, (double)o->duration_ns / 1e9);
	if (profile_requests(&o->rate) < 1)
		return options_wrong(why, size,
			"--rate %s: not one request falls into the window; raise it or --duration",
			o->rate_text);
	return true;
}

static bool check_pace(const struct options *o, char *why, size_t size)
{
	if (o->send_every_ns > 0 && o->send_part == 0)
		return options_wrong(why, size, "--send-every needs --send-part, such as --send-part 10");
	if ((o->read_part > 0) != (o->read_every_ns > 0))
		return options_wrong(why, size,
			"--read-part and --read-every need each other, such as --read-part 1KiB --read-every "
			"10ms");
	return true;
}

/* Options that belong to other protocols, or to classes. */
static bool check_owner(const struct options *o, char *why, size_t size)
{
	enum {
		ECHO = 1 << PROTOCOL_ECHO,
		GREET = 1 << PROTOCOL_GREET,
		HTTP = 1 << PROTOCOL_HTTP,
		FRAME = 1 << PROTOCOL_FRAME,
		RAW = 1 << PROTOCOL_RAW,
	};
	static const struct {
		const char *option;
		uint32_t protocols; /* bits */
	} owners[] = {{"size", ECHO | GREET | FRAME}, {"path", HTTP}, {"header", HTTP}, {"delay", HTTP | FRAME},
		{"work", HTTP | FRAME}, {"reply", HTTP | FRAME | RAW}, {"send", RAW}, {"expect", HTTP | RAW},
		{"until", RAW}, {"expect-status", HTTP}, {"class", HTTP | FRAME | RAW}};

	for (size_t i = 0; i < sizeof(owners) / sizeof(owners[0]); i++) {
		if (options_given(o, owners[i].option) && !(owners[i].protocols & 1u << o->protocol))
			return options_wrong(why, size, "--%s has no meaning with --protocol %s",
				owners[i].option, protocol_names[o->protocol]);
	}
	if (options_given(o, "weight") && !o->is_class)
		return options_wrong(why, size,
			"--weight belongs into a --class, such as --class 'small: --weight 9 --reply 64'");
	return true;
}

static bool check_protocol(const struct options *o, char *why, size_t size)
{
	if ((o->protocol == PROTOCOL_ECHO || o->protocol == PROTOCOL_GREET) && o->size == 0)
		return options_wrong(why, size, "--size 0: a request of %s has at least one byte",
			protocol_names[o->protocol]);
	if (o->protocol == PROTOCOL_GREET && o->size > MAX_GREETING)
		return options_wrong(why, size,
			"--size: a name of greet has at most 1024 bytes, so --size %d is the most",
			MAX_GREETING);
	if (o->protocol == PROTOCOL_GREET && (o->depth > 1 || o->per_connection > 1))
		return options_wrong(why, size,
			"--protocol greet serves one request per connection: --depth and "
			"--per-connection can only be 1");
	if (o->per_connection > 0 && o->depth > o->per_connection)
		return options_wrong(why, size,
			"--depth %" PRIu64 ": more than --per-connection %" PRIu64
			" can never be in flight on a connection",
			o->depth, o->per_connection);
	return true;
}

static bool check_raw(const struct options *o, char *why, size_t size)
{
	int ways = options_given(o, "expect") + options_given(o, "until") + options_given(o, "reply");

	if (!o->send)
		return options_wrong(why, size, "--protocol raw needs --send, such as --send 'PING\\r\\n'");
	if (ways != 1)
		return options_wrong(why, size,
			"--protocol raw needs exactly one of --expect, --until and --reply, to know where "
			"a reply ends");
	return true;
}

/* The limits of the fields of a frame's head. */
static bool check_frame(struct options *o, char *why, size_t size)
{
	if (!o->is_class && !options_given(o, "reply"))
		o->reply = DEFAULT_FRAME_REPLY;
	if (o->size > MAX_FRAME_SIZE)
		return options_wrong(
			why, size, "--size: a frame's payload has at most --size %d", MAX_FRAME_SIZE);
	if (o->reply > MAX_FRAME_REPLY)
		return options_wrong(
			why, size, "--reply: the reply to a frame has at most --reply %d", MAX_FRAME_REPLY);
	if (o->work_ns % NS_PER_US || o->work_ns / NS_PER_US > MAX_FRAME_WORK)
		return options_wrong(why, size,
			"--work: a frame asks for whole microseconds, at most --work %dus", MAX_FRAME_WORK);
	if (o->delay_ns % NS_PER_US || o->delay_ns / NS_PER_US > MAX_FRAME_DELAY)
		return options_wrong(why, size,
			"--delay: a frame asks for whole microseconds, at most --delay %dus", MAX_FRAME_DELAY);
	return true;
}

/* --delay, --work and --reply are short for the paths of our own servers. */
static bool choose_path(struct options *o, char *why, size_t size)
{
	char *path = o->short_path;
	int ways = options_given(o, "path") + options_given(o, "delay") + options_given(o, "work") +
		   options_given(o, "reply");

	if (ways > 1)
		return options_wrong(why, size,
			"--path, --delay, --work and --reply each choose what to GET: give one of them");
	if (o->delay_ns % NS_PER_MS || o->work_ns % NS_PER_US)
		return options_wrong(why, size,
			"--delay is in whole milliseconds, --work in whole microseconds (/delay/MS, /work/US)");
	if (options_given(o, "delay"))
		snprintf(path, sizeof(o->short_path), "/delay/%" PRIu64, o->delay_ns / NS_PER_MS);
	else if (options_given(o, "work"))
		snprintf(path, sizeof(o->short_path), "/work/%" PRIu64, o->work_ns / NS_PER_US);
	else if (options_given(o, "reply"))
		snprintf(path, sizeof(o->short_path), "/bytes/%" PRIu64, o->reply);
	if (ways == 1 && !options_given(o, "path"))
		o->path = path;
	return true;
}

/* {FIRST..LAST} in the path. */
static bool find_numbers(struct options *o, char *why, size_t size)
{
	const char *open = strchr(o->path, '{');
	unsigned long long first, last;
	int length = 0;

	o->numbers = (struct numbers){0};
	if (!open && !strchr(o->path, '}'))
		return true;
	bool fine = open && isdigit((unsigned char)open[1]) &&
		    sscanf(open, "{%10llu..%10llu}%n", &first, &last, &length) == 2 && length > 0 &&
		    first <= last && last <= UINT32_MAX && !strpbrk(open + length, "{}");
	if (!fine)
		return options_wrong(why, size,
			"--path %.200s: braces hold one range of whole numbers below 2^32, such as "
			"/file/{0..9999}",
			o->path);
	o->numbers = (struct numbers){.any = true,
		.first = (uint32_t)first,
		.last = (uint32_t)last,
		.at = (uint32_t)(open - o->path),
		.end = (uint32_t)(open - o->path + length)};
	return true;
}

static bool check_http(struct options *o, char *why, size_t size)
{
	if (!choose_path(o, why, size))
		return false;
	if (o->path[0] != '/' || strlen(o->path) > 4096 || strpbrk(o->path, " \t\r\n"))
		return options_wrong(why, size,
			"--path %.200s: expected a path such as /index.html, without blanks", o->path);
	return find_numbers(o, why, size);
}

bool options_check(struct options *o, char *why, size_t size)
{
	if (!check_required(o, why, size) || !check_mode(o, why, size) || !check_rate(o, why, size) ||
		!check_owner(o, why, size) || !check_protocol(o, why, size))
		return false;
	if (!check_pace(o, why, size))
		return false;
	if (o->protocol == PROTOCOL_FRAME && !check_frame(o, why, size))
		return false;
	if (o->protocol == PROTOCOL_RAW && (o->is_class || o->class_count == 0) && !check_raw(o, why, size))
		return false;
	if (o->protocol == PROTOCOL_HTTP && !check_http(o, why, size))
		return false;
	o->reply_given = options_given(o, "reply");
	if (o->delay_ns >= o->timeout_ns)
		return options_wrong(why, size,
			"--delay is not shorter than --timeout (%.3f s): every request would fail; raise "
			"--timeout",
			(double)o->timeout_ns / 1e9);
	return true;
}
