/* What a client says and what it must hear, byte for byte, as docs/protocols.md has it: written out here, never
 * taken from the code under test. */
#ifndef TRANSCRIPTS_H
#define TRANSCRIPTS_H

#include "play.h"

struct exchange {
	const char *in; /* the request: its last byte is the one that completes it */
	size_t in_len;
	struct pause pause; /* before the reply */
	const char *out;
	size_t out_len;
	bool counted; /* as a request */
};

struct transcript {
	const char *name;
	enum protocol protocol;
	uint64_t delay_ns;
	bool delay_blocks;
	bool file;   /* http: /file/N reads the file of play.h */
	bool closes; /* after the last exchange the server sends FIN */
	const struct exchange *exchanges;
	size_t count;
};

extern const struct transcript transcripts[];
extern const size_t transcript_count;

/* The transcripts that are too long to be written out. The result lives until the process ends. */
struct transcript transcript_pipeline(size_t requests, bool with_pauses);
struct transcript transcript_bytes(uint64_t length, const char *method);
struct transcript transcript_head(size_t head_bytes); /* a request with a head of that size */
struct transcript transcript_files(
	bool closes); /* every block of the file, and one beyond, among other paths */
struct transcript transcript_frame(uint32_t reply, uint16_t payload, uint32_t id);
struct transcript transcript_frames(
	size_t requests); /* of every kind, each with a payload, an id and a reply */
struct transcript transcript_echo(size_t bytes);
struct transcript transcript_name(size_t bytes, const char *end);

struct core transcript_core(const struct transcript *);

/* All the bytes that the client sends; they live until the process ends. */
const uint8_t *transcript_input(const struct transcript *, size_t *n);

/* What must come of the first n of them. */
void transcript_expect(const struct transcript *, size_t n, bool eof, struct trace *expected);

#endif
