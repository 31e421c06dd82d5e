#include "transcripts.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// clang-format off
#define TEXT(s) s, sizeof s - 1
#define ASK(in, out)              {TEXT(in), {0}, TEXT(out), true}
#define WAIT(what, time, in, out) {TEXT(in), {.kind = what, .amount = time}, TEXT(out), true}
#define QUIET(in)                 {TEXT(in), {0}, TEXT(""), false}
#define LIST(...)                                                                                              \
	.exchanges = (const struct exchange[]){__VA_ARGS__},                                                   \
	.count = sizeof((const struct exchange[]){__VA_ARGS__}) / sizeof(struct exchange)

/* The parts of a reply. */
#define HEAD(status, length) "HTTP/1.1 " status "\r\nContent-Type: text/plain\r\nContent-Length: " length "\r\n"
#define CLOSING              "Connection: close\r\n\r\n"
#define KEEPING              "Connection: keep-alive\r\n\r\n"
#define OK                   HEAD("200 OK", "9") "\r\nmuxbench\n"
#define OK_HEAD              HEAD("200 OK", "9") "\r\n"
#define OK_CLOSING           HEAD("200 OK", "9") CLOSING "muxbench\n"
#define OK_KEEPING           HEAD("200 OK", "9") KEEPING "muxbench\n"
#define NOT_FOUND            HEAD("404 Not Found", "10") "\r\nnot found\n"
#define BAD                  HEAD("400 Bad Request", "12") CLOSING "bad request\n"
#define TOO_LARGE            HEAD("431 Request Header Fields Too Large", "15") CLOSING "head too large\n"
#define NOT_IMPLEMENTED      HEAD("501 Not Implemented", "16") CLOSING "not implemented\n"
#define NO_SUCH_VERSION      HEAD("505 HTTP Version Not Supported", "22") CLOSING "version not supported\n"

/* The parts of a request. */
#define GET(path)    "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"
#define FIELD(field) "GET / HTTP/1.1\r\nHost: x\r\n" field "\r\n\r\n"

/* The header of a frame: reply (4 bytes), size of the payload (2), work (2), flags (1), delay (3), id (4). Of the
 * reply only the first and the last of them. */
#define FRAME(reply, size, work, flags, delay, id) reply size work flags delay id
#define REPLY(reply, id) FRAME(reply, "\0\0", "\0\0", "\0", "\0\0\0", id)
#define NONE1 "\0"
#define NONE2 "\0\0"
#define NONE3 "\0\0\0"
#define NONE4 "\0\0\0\0"
/* A second pause before the same reply: the request of the first one has no reply of its own. */
#define THEN(what, time, out) {TEXT(""), {.kind = what, .amount = time}, TEXT(out), false}

/* The kinds of transcripts. */
#define HTTP(title, ...)                                                                                       \
	{.name = "http: " title, .protocol = PROTOCOL_HTTP, LIST(__VA_ARGS__)}
#define HTTP_CLOSES(title, ...)                                                                                \
	{.name = "http: " title, .protocol = PROTOCOL_HTTP, .closes = true, LIST(__VA_ARGS__)}
#define HTTP_REFUSES(title, in) HTTP_CLOSES("refuses " title, ASK(in, BAD))
#define HTTP_DELAYED(title, blocks, ...)                                                                       \
	{.name = "http: " title, .protocol = PROTOCOL_HTTP, .delay_ns = 1500, .delay_blocks = blocks,          \
		LIST(__VA_ARGS__)}
#define FRAMES(title, ...)                                                                                     \
	{.name = "frame: " title, .protocol = PROTOCOL_FRAME, LIST(__VA_ARGS__)}
#define FRAMES_CLOSE(title, ...)                                                                               \
	{.name = "frame: " title, .protocol = PROTOCOL_FRAME, .closes = true, LIST(__VA_ARGS__)}
#define GREET(title, ...)                                                                                      \
	{.name = "greet: " title, .protocol = PROTOCOL_GREET, .closes = true, LIST(__VA_ARGS__)}
#define GREET_DELAYED(title, blocks, ...)                                                                      \
	{.name = "greet: " title, .protocol = PROTOCOL_GREET, .closes = true, .delay_ns = 1500,                \
		.delay_blocks = blocks, LIST(__VA_ARGS__)}

enum { LOOPS_PER_US = 7 };

const struct transcript transcripts[] = {
	{.name = "echo: bytes of every kind", .protocol = PROTOCOL_ECHO,
		LIST({TEXT("one\ntwo\0\r\n\xff\x80 three\n"), {0}, TEXT("one\ntwo\0\r\n\xff\x80 three\n"), false})},

	GREET("a name", ASK("Bob\n", "Hello Bob\n")),
	GREET("a carriage return before the newline is dropped", ASK("Bob\r\n", "Hello Bob\n")),
	GREET("only one of them", ASK("Bob\r\r\n", "Hello Bob\r\n")),
	GREET("no name", ASK("\n", "Hello \n")),
	GREET("no name, with a carriage return", ASK("\r\n", "Hello \n")),
	GREET("a name of any bytes", ASK("B\0b \xc3\xa9\r \xff\n", "Hello B\0b \xc3\xa9\r \xff\n")),
	GREET("what follows the name is discarded", ASK("Bob\n", "Hello Bob\n"), QUIET("Eve\nand more, and more\n")),
	GREET_DELAYED("after a delay", false, WAIT(PAUSE_DELAY, 1500, "Bob\n", "Hello Bob\n"), QUIET("more\n")),
	GREET_DELAYED("after a sleep", true, WAIT(PAUSE_SLEEP, 1500, "Bob\n", "Hello Bob\n"), QUIET("more\n")),

	HTTP("three in a row", ASK(GET("/"), OK), ASK(GET("/"), OK), ASK(GET("/"), OK)),
	HTTP("no other path", ASK(GET("/nothing"), NOT_FOUND), ASK(GET("//"), NOT_FOUND), ASK(GET("/"), OK)),
	HTTP("HEAD has the length and no body",
		ASK("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", OK_HEAD),
		ASK("HEAD /nothing HTTP/1.1\r\nHost: x\r\n\r\n", HEAD("404 Not Found", "10") "\r\n"),
		ASK("HEAD /bytes/100000 HTTP/1.1\r\nHost: x\r\n\r\n", HEAD("200 OK", "100000") "\r\n"),
		ASK(GET("/"), OK)),
	HTTP("/bytes/N counts from 0",
		ASK(GET("/bytes/0"), HEAD("200 OK", "0") "\r\n"),
		ASK(GET("/bytes/3"), HEAD("200 OK", "3") "\r\nABC"),
		ASK(GET("/bytes/0066"), HEAD("200 OK", "66") "\r\n"
			"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_AB")),
	HTTP("numbers out of range",
		ASK(GET("/bytes/1073741825"), NOT_FOUND), ASK(GET("/bytes/18446744073709551617"), NOT_FOUND),
		ASK(GET("/delay/60001"), NOT_FOUND), ASK(GET("/work/1000001"), NOT_FOUND)),
	HTTP("no numbers",
		ASK(GET("/bytes/"), NOT_FOUND), ASK(GET("/bytes/1x"), NOT_FOUND), ASK(GET("/bytes/-1"), NOT_FOUND),
		ASK(GET("/delay/+1"), NOT_FOUND), ASK(GET("/work"), NOT_FOUND), ASK(GET("/bytes/1:"), NOT_FOUND),
		ASK(GET("/bytes/1/"), NOT_FOUND), ASK(GET("/bytes/%31"), NOT_FOUND), ASK(GET("/Bytes/1"), NOT_FOUND)),
	HTTP("/delay/MS waits",
		WAIT(PAUSE_DELAY, 60000000000, GET("/delay/60000"), OK), ASK(GET("/delay/0"), OK),
		WAIT(PAUSE_DELAY, 2000000, GET("/delay/2"), OK)),
	HTTP("/work/US burns",
		WAIT(PAUSE_WORK, 1000000 * LOOPS_PER_US, GET("/work/1000000"), OK), ASK(GET("/work/0"), OK),
		WAIT(PAUSE_WORK, 3 * LOOPS_PER_US, "HEAD /work/3 HTTP/1.1\r\nHost: x\r\n\r\n", OK_HEAD)),
	HTTP_CLOSES("a pause before the last reply",
		ASK(GET("/"), OK),
		WAIT(PAUSE_DELAY, 1000000, "GET /delay/1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", OK_CLOSING),
		QUIET(GET("/"))),
	HTTP_DELAYED("--delay goes before / and /bytes/N alone", false,
		WAIT(PAUSE_DELAY, 1500, GET("/"), OK), WAIT(PAUSE_DELAY, 1500, GET("/bytes/1"), HEAD("200 OK", "1") "\r\nA"),
		ASK(GET("/nothing"), NOT_FOUND), WAIT(PAUSE_DELAY, 1000000, GET("/delay/1"), OK),
		ASK(GET("/delay/0"), OK), WAIT(PAUSE_WORK, LOOPS_PER_US, GET("/work/1"), OK)),
	HTTP_DELAYED("--delay-blocks makes delays sleep, not work", true,
		WAIT(PAUSE_SLEEP, 1500, GET("/"), OK), WAIT(PAUSE_SLEEP, 1000000, GET("/delay/1"), OK),
		WAIT(PAUSE_WORK, LOOPS_PER_US, GET("/work/1"), OK)),

	HTTP("a query is cut off", ASK(GET("/?"), OK), ASK(GET("/?a=/b?c"), OK), ASK(GET("/bytes/1?2"), HEAD("200 OK", "1") "\r\nA")),
	HTTP("a whole URI",
		ASK(GET("http://example.org/"), OK), ASK(GET("HTTP://example.org:8080"), OK),
		ASK(GET("http://example.org/bytes/2?x"), HEAD("200 OK", "2") "\r\nAB"),
		ASK(GET("http://example.org?/bytes/2"), OK), ASK(GET("http://example.org/none"), NOT_FOUND)),
	HTTP("lone LF ends a line", ASK("GET / HTTP/1.1\nHost: x\n\n", OK), ASK("GET / HTTP/1.1\r\nHost: x\n\r\n", OK),
		ASK("GET / HTTP/1.1\nHost: x\r\n\n", OK)),
	HTTP("empty lines before a request", ASK("\r\n" GET("/"), OK), ASK("\n\r\n\n\n\r\n" GET("/"), OK), QUIET("\r\n\n\r")),
	HTTP("fields of all kinds",
		ASK(FIELD("A:\r\nB: \t \r\nC:\t\x80\xff\tb ar \r\n!#$%&'*+-.^_`|~09: \"(),/:;<=>?@[\\]{}"), OK),
		ASK(FIELD("content-LENGTH: 000 "), OK), ASK(FIELD("Content-Length:0\t"), OK),
		ASK("GET / HTTP/1.1\r\nhOST:\r\n\r\n", OK), ASK(FIELD("Hosts: y"), OK)),
	HTTP("Connection: options that mean nothing here",
		ASK(FIELD("Connection: keep-alive"), OK), ASK(FIELD("Connection: closed, upgrade,"), OK),
		ASK(FIELD("Connection:"), OK), ASK(FIELD("Proxy-Connection: close"), OK)),
	HTTP_CLOSES("Connection: close", ASK(FIELD("Connection: close"), OK_CLOSING), QUIET(GET("/"))),
	HTTP_CLOSES("Connection: CLOSE among others", ASK(FIELD("cOnnection: a ,\t CLOSE\t ,keep-alive"), OK_CLOSING)),
	HTTP_CLOSES("Connection: in a second field", ASK(FIELD("Connection: keep-alive\r\nConnection: close"), OK_CLOSING)),
	HTTP_CLOSES("HTTP/1.0 closes", ASK("GET / HTTP/1.0\r\n\r\n", OK_CLOSING), QUIET(GET("/"))),
	HTTP_CLOSES("HTTP/1.0 and 404", ASK("GET /x HTTP/1.0\n\n", HEAD("404 Not Found", "10") CLOSING "not found\n")),
	HTTP_CLOSES("HTTP/1.0 with keep-alive stays",
		ASK("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", OK_KEEPING),
		ASK("HEAD /bytes/5 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", HEAD("200 OK", "5") KEEPING),
		ASK("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", OK_CLOSING)),

	HTTP_CLOSES("other methods", ASK("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", NOT_IMPLEMENTED), QUIET(GET("/"))),
	HTTP_CLOSES("methods are case-sensitive", ASK("get / HTTP/1.1\r\nHost: x\r\n\r\n", NOT_IMPLEMENTED)),
	HTTP_CLOSES("OPTIONS *", ASK("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", NOT_IMPLEMENTED)),
	HTTP_CLOSES("CONNECT", ASK("CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n", NOT_IMPLEMENTED)),
	HTTP_CLOSES("HTTP/1.2", ASK("GET / HTTP/1.2\r\nHost: x\r\n\r\n", NO_SUCH_VERSION), QUIET(GET("/"))),
	HTTP_CLOSES("HTTP/0.9", ASK("GET / HTTP/0.9\r\n\r\n", NO_SUCH_VERSION)),
	HTTP_CLOSES("HTTP/2's preface", ASK("PRI * HTTP/2.0\r\n\r\n", NO_SUCH_VERSION), QUIET("SM\r\n\r\n")),
	HTTP_CLOSES("after good requests", ASK(GET("/"), OK), ASK(GET("/x"), NOT_FOUND), ASK("\0\n\n", BAD), QUIET(GET("/"))),

	HTTP("/file/N without a file", ASK(GET("/file/0"), NOT_FOUND), ASK(GET("/file/"), NOT_FOUND)),

	FRAMES("nothing but headers",
		ASK(FRAME(NONE4, NONE2, NONE2, NONE1, NONE3, NONE4), REPLY(NONE4, NONE4)),
		ASK(FRAME(NONE4, NONE2, NONE2, NONE1, NONE3, "\xff\xfe\xfd\xfc"), REPLY(NONE4, "\xff\xfe\xfd\xfc"))),
	FRAMES("a reply counts from its id on",
		ASK(FRAME("\0\0\0\3", NONE2, NONE2, NONE1, NONE3, NONE4), REPLY("\0\0\0\3", NONE4) "ABC"),
		ASK(FRAME("\0\0\0\5", NONE2, NONE2, NONE1, NONE3, "\0\0\0\7"), REPLY("\0\0\0\5", "\0\0\0\7") "HIJKL"),
		ASK(FRAME("\0\0\0\4", NONE2, NONE2, NONE1, NONE3, "\xff\xff\xff\xfe"),
			REPLY("\0\0\0\4", "\xff\xff\xff\xfe") "-_AB"),
		ASK(FRAME("\0\0\0\1", NONE2, NONE2, NONE1, NONE3, "\1\2\3\x41"), REPLY("\0\0\0\1", "\1\2\3\x41") "B")),
	FRAMES("payloads are discarded, whatever is in them",
		ASK(FRAME("\0\0\0\1", "\0\5", NONE2, NONE1, NONE3, NONE4) "\xff\xff\xff\xff\xff", REPLY("\0\0\0\1", NONE4) "A"),
		ASK(FRAME(NONE4, "\0\1", NONE2, NONE1, NONE3, "\0\0\0\1") "\n", REPLY(NONE4, "\0\0\0\1")),
		ASK(FRAME("\0\0\0\2", "\0\20", NONE2, NONE1, NONE3, "\0\0\0\2") FRAME(NONE4, NONE2, NONE2, NONE1, NONE3, NONE4),
			REPLY("\0\0\0\2", "\0\0\0\2") "CD")),
	FRAMES("a delay", WAIT(PAUSE_DELAY, 1000, FRAME("\0\0\0\1", NONE2, NONE2, NONE1, "\0\0\1", NONE4), REPLY("\0\0\0\1", NONE4) "A"),
		ASK(FRAME(NONE4, NONE2, NONE2, NONE1, NONE3, NONE4), REPLY(NONE4, NONE4)),
		WAIT(PAUSE_DELAY, 16777215000, FRAME(NONE4, "\0\1", NONE2, NONE1, "\xff\xff\xff", NONE4) "x", REPLY(NONE4, NONE4))),
	FRAMES("work", WAIT(PAUSE_WORK, 258 * LOOPS_PER_US, FRAME(NONE4, NONE2, "\1\2", NONE1, NONE3, NONE4), REPLY(NONE4, NONE4)),
		WAIT(PAUSE_WORK, 65535 * LOOPS_PER_US, FRAME(NONE4, NONE2, "\xff\xff", NONE1, NONE3, NONE4), REPLY(NONE4, NONE4))),
	FRAMES("a delay comes before work",
		WAIT(PAUSE_DELAY, 66051000, FRAME("\0\0\0\2", "\0\2", "\0\3", NONE1, "\1\2\3", "\0\0\0\2") "xy", ""),
		THEN(PAUSE_WORK, 3 * LOOPS_PER_US, REPLY("\0\0\0\2", "\0\0\0\2") "CD"),
		ASK(FRAME(NONE4, NONE2, NONE2, NONE1, NONE3, NONE4), REPLY(NONE4, NONE4))),
	{.name = "frame: --delay-blocks makes delays sleep, not work", .protocol = PROTOCOL_FRAME, .delay_blocks = true,
		LIST(WAIT(PAUSE_SLEEP, 2000, FRAME(NONE4, NONE2, "\0\1", NONE1, "\0\0\2", NONE4), ""),
			THEN(PAUSE_WORK, LOOPS_PER_US, REPLY(NONE4, NONE4)))},
	FRAMES_CLOSE("the flag CLOSE",
		ASK(FRAME("\0\0\0\1", NONE2, NONE2, NONE1, NONE3, NONE4), REPLY("\0\0\0\1", NONE4) "A"),
		ASK(FRAME("\0\0\0\1", "\0\1", NONE2, "\1", NONE3, NONE4) "x", REPLY("\0\0\0\1", NONE4) "A"),
		QUIET(FRAME("\0\0\0\1", NONE2, NONE2, NONE1, NONE3, NONE4))),
	FRAMES_CLOSE("the flag CLOSE after pauses",
		WAIT(PAUSE_DELAY, 1000, FRAME("\0\0\0\1", NONE2, NONE2, "\1", "\0\0\1", NONE4), REPLY("\0\0\0\1", NONE4) "A"),
		QUIET("more")),
	FRAMES_CLOSE("refuses a flag that is none", ASK(FRAME(NONE4, NONE2, NONE2, "\2", NONE3, NONE4), ""), QUIET("more")),
	FRAMES_CLOSE("refuses such a flag beside CLOSE", ASK(FRAME(NONE4, NONE2, NONE2, "\x81", NONE3, NONE4), "")),
	FRAMES_CLOSE("refuses a reply too large", ASK(FRAME("\1\0\0\1", NONE2, NONE2, NONE1, NONE3, NONE4), "")),
	FRAMES_CLOSE("refuses a reply far too large", ASK(FRAME("\xff\xff\xff\xff", NONE2, NONE2, NONE1, NONE3, NONE4), "")),
	FRAMES_CLOSE("refuses with the header, before its payload, after what is owed",
		WAIT(PAUSE_DELAY, 1000, FRAME("\0\0\0\1", NONE2, NONE2, NONE1, "\0\0\1", NONE4), REPLY("\0\0\0\1", NONE4) "A"),
		ASK(FRAME("\0\0\0\2", NONE2, NONE2, NONE1, NONE3, NONE4), REPLY("\0\0\0\2", NONE4) "AB"),
		ASK(FRAME("\0\0\0\2", "\xff\xff", NONE2, "\x40", NONE3, NONE4), ""),
		QUIET(FRAME("\0\0\0\1", NONE2, NONE2, NONE1, NONE3, NONE4))),

	HTTP_REFUSES("no Host in 1.1", "GET / HTTP/1.1\r\n\r\n"),
	HTTP_REFUSES("two Hosts in 1.1", "GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n"),
	HTTP_REFUSES("two Hosts in 1.0", "GET / HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n"),
	HTTP_REFUSES("a body", FIELD("Content-Length: 1")),
	HTTP_REFUSES("a body's length that is no number", FIELD("Content-Length: 0x0")),
	HTTP_REFUSES("a body's length with a sign", FIELD("Content-Length: +0")),
	HTTP_REFUSES("an empty Content-Length", FIELD("Content-Length:")),
	HTTP_REFUSES("a list of lengths", FIELD("Content-Length: 0, 0")),
	HTTP_REFUSES("a second Content-Length", FIELD("Content-Length: 0\r\nContent-Length: 5")),
	HTTP_REFUSES("Transfer-Encoding", FIELD("Transfer-Encoding: chunked")),
	HTTP_REFUSES("Transfer-Encoding in any case", FIELD("tRANSFER-eNCODING: identity")),
	HTTP_REFUSES("a blank before the colon", FIELD("Content-Length : 1")),
	HTTP_REFUSES("a folded field", FIELD("A: b\r\n c")),
	HTTP_REFUSES("a folded first field", "GET / HTTP/1.1\r\n Host: x\r\n\r\n"),
	HTTP_REFUSES("a field without a colon", FIELD("Content-Length")),
	HTTP_REFUSES("a field without a name", FIELD(": x")),
	HTTP_REFUSES("NUL in a value", FIELD("A: b\0c")),
	HTTP_REFUSES("NUL in a name", FIELD("A\0: b")),
	HTTP_REFUSES("NUL in the target", GET("/\0")),
	HTTP_REFUSES("NUL in the method", "GE\0 / HTTP/1.1\r\nHost: x\r\n\r\n"),
	HTTP_REFUSES("8 bits in a name", FIELD("\xc3\xa9: b")),
	HTTP_REFUSES("8 bits in the target", GET("/\xe9")),
	HTTP_REFUSES("8 bits in the method", "G\xc9T / HTTP/1.1\r\nHost: x\r\n\r\n"),
	HTTP_REFUSES("DEL in a value", FIELD("A: \x7f")),
	HTTP_REFUSES("a carriage return in a value", FIELD("A: b\rc: d")),
	HTTP_REFUSES("two carriage returns at the end of a line", "GET / HTTP/1.1\r\nHost: x\r\r\n\r\n"),
	HTTP_REFUSES("an almost empty line", FIELD("A: b\r\n\r")),
	HTTP_REFUSES("a carriage return before the method", "\rGET / HTTP/1.1\r\nHost: x\r\n\r\n"),
	HTTP_REFUSES("no version", "GET /\r\n\r\n"),
	HTTP_REFUSES("another protocol", "GET / ICY/1.1\r\nHost: x\r\n\r\n"),
	HTTP_REFUSES("a version in lower case", "GET / http/1.1\r\nHost: x\r\n\r\n"),
	HTTP_REFUSES("a long version", "GET / HTTP/1.10\r\nHost: x\r\n\r\n"),
	HTTP_REFUSES("a version without digits", "GET / HTTP/1.x\r\nHost: x\r\n\r\n"),
	HTTP_REFUSES("a blank after the version", "GET / HTTP/1.1 \r\nHost: x\r\n\r\n"),
	HTTP_REFUSES("two blanks", "GET  / HTTP/1.1\r\nHost: x\r\n\r\n"),
	HTTP_REFUSES("a tab for a blank", "GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n"),
	HTTP_REFUSES("a blank first", " GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
	HTTP_REFUSES("a target that is no path", GET("x")),
	HTTP_REFUSES("* for a GET", GET("*")),
	HTTP_REFUSES("a query without a path", GET("?/")),
	HTTP_REFUSES("a URI without a host", GET("http://")),
	HTTP_REFUSES("an empty host", GET("http:///bytes/1")),
	HTTP_REFUSES("another scheme", GET("https://x/")),
};
const size_t transcript_count = sizeof transcripts / sizeof transcripts[0];
// clang-format on

/* --- the long ones --- */

/* Memory for transcripts, of zeros: reachable until the process ends. */
static void *kept(size_t size)
{
	static struct memory {
		struct memory *older;
		char bytes[];
	} * newest;
	struct memory *memory = calloc(1, sizeof *memory + size);
	if (!memory)
		play_broken("the test has memory");
	memory->older = newest;
	newest = memory;
	return memory->bytes;
}

static __attribute__((format(printf, 1, 2))) char *text(const char *format, ...)
{
	va_list arguments, again;
	va_start(arguments, format);
	va_copy(again, arguments);
	size_t size = (size_t)vsnprintf(NULL, 0, format, arguments) + 1;
	char *made = kept(size);
	vsnprintf(made, size, format, again);
	va_end(again);
	va_end(arguments);
	return made;
}

static struct transcript of_one(const char *name, enum protocol protocol, bool closes, struct exchange exchange)
{
	struct exchange *exchanges = kept(sizeof *exchanges);
	*exchanges = exchange;
	return (struct transcript){
		.name = name, .protocol = protocol, .closes = closes, .exchanges = exchanges, .count = 1};
}

/* Every request has an answer of its own, so that none can stand in another's place. */
struct transcript transcript_pipeline(size_t requests, bool with_pauses)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	struct exchange *exchanges = kept(requests * sizeof *exchanges);
	for (size_t i = 0; i < requests; i++) {
		struct exchange *exchange = &exchanges[i];
		unsigned n = (unsigned)i % 60;
		exchange->in = text("GET /bytes/%u HTTP/1.1\r\nHost: x\r\n\r\n", n);
		exchange->out = text(HEAD("200 OK", "%u") "\r\n%.*s", n, (int)n, letters);
		if (with_pauses && i % 3 == 1) {
			exchange->in =
				text("GET /%s/%u HTTP/1.1\r\nHost: x\r\n\r\n", i % 2 ? "delay" : "work", n + 1);
			exchange->out = OK;
			exchange->pause =
				i % 2 ? (struct pause){.kind = PAUSE_DELAY,
						.amount = (n + 1) * UINT64_C(1000000)}
				      : (struct pause){.kind = PAUSE_WORK, .amount = (n + 1) * LOOPS_PER_US};
		}
		exchange->in_len = strlen(exchange->in);
		exchange->out_len = strlen(exchange->out);
		exchange->counted = true;
	}
	const char *name = text("http: %zu in a row%s", requests, with_pauses ? ", some after pauses" : "");
	return (struct transcript){
		.name = name, .protocol = PROTOCOL_HTTP, .exchanges = exchanges, .count = requests};
}

struct transcript transcript_bytes(uint64_t length, const char *method)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	char *in = text("%s /bytes/%ju HTTP/1.1\r\nHost: x\r\n\r\n", method, (uintmax_t)length);
	char *head = text(HEAD("200 OK", "%ju") "\r\n", (uintmax_t)length);
	size_t head_len = strlen(head), body_len = strcmp(method, "HEAD") == 0 ? 0 : (size_t)length;
	char *out = kept(head_len + body_len + 1);
	memcpy(out, head, head_len);
	for (size_t i = 0; i < body_len; i++)
		out[head_len + i] = letters[i % 64];
	struct exchange exchange = {in, strlen(in), {0}, out, head_len + body_len, true};
	return of_one(text("http: %s /bytes/%ju", method, (uintmax_t)length), PROTOCOL_HTTP, false, exchange);
}

/* Too large is known with byte 8,192, whatever comes after it. */
struct transcript transcript_head(size_t head_bytes)
{
	static const char begin[] = "GET / HTTP/1.1\r\nHost: x\r\nA: ", end[] = "\r\n\r\n";
	bool fits = head_bytes <= 8192;
	char *in = kept(head_bytes + 1);
	memset(in, 'a', head_bytes);
	memcpy(in, begin, sizeof begin - 1);
	memcpy(in + head_bytes - (sizeof end - 1), end, sizeof end - 1);
	struct exchange *exchanges = kept(2 * sizeof *exchanges);
	exchanges[0] = fits ? (struct exchange){in, head_bytes, {0}, TEXT(OK), true}
			    : (struct exchange){in, 8192, {0}, TEXT(TOO_LARGE), true};
	if (!fits)
		exchanges[1] = (struct exchange){in + 8192, head_bytes - 8192, {0}, "", 0, false};
	return (struct transcript){.name = text("http: a head of %zu bytes", head_bytes),
		.protocol = PROTOCOL_HTTP,
		.closes = !fits,
		.exchanges = exchanges,
		.count = fits ? 1 : 2};
}

static char *reply_with(const char *head, const uint8_t *body, size_t body_len, size_t *len)
{
	size_t head_len = strlen(head);
	char *out = kept(head_len + body_len + 1);
	memcpy(out, head, head_len);
	memcpy(out + head_len, body, body_len);
	*len = head_len + body_len;
	return out;
}

static struct exchange file_exchange(unsigned block, const char *method, bool closes)
{
	const char *last = closes ? CLOSING : "\r\n";
	bool head_only = strcmp(method, "HEAD") == 0, there = block < PLAY_FILE_BLOCKS;
	struct exchange exchange = {
		text("%s /file/%u HTTP/1.1\r\nHost: x\r\n%s", method, block, last), 0, {0}, NULL, 0, true};
	uint8_t body[PLAY_FILE_BLOCK];
	for (size_t i = 0; i < sizeof body; i++)
		body[i] = play_file_byte((uint64_t)block * PLAY_FILE_BLOCK + i);
	if (there)
		exchange.pause =
			(struct pause){.kind = PAUSE_FILE, .amount = (uint64_t)block * PLAY_FILE_BLOCK};
	if (there && block < PLAY_FILE_FAILS)
		exchange.out = reply_with(text(HEAD("200 OK", "4096") "%s", last), body,
			head_only ? 0 : sizeof body, &exchange.out_len);
	else if (there)
		exchange.out = text(
			HEAD("500 Internal Server Error", "12") "%s%s", last, head_only ? "" : "read failed\n");
	else
		exchange.out = text(HEAD("404 Not Found", "10") "%s%s", last, head_only ? "" : "not found\n");
	if (exchange.out_len == 0)
		exchange.out_len = strlen(exchange.out);
	exchange.in_len = strlen(exchange.in);
	return exchange;
}

struct transcript transcript_files(bool closes)
{
	static const struct exchange others[] = {ASK(GET("/"), OK),
		WAIT(PAUSE_DELAY, 1000000, GET("/delay/1"), OK),
		ASK(GET("/file/99999999999999999999"), NOT_FOUND), ASK(GET("/file/-1"), NOT_FOUND)};
	struct exchange *exchanges = kept(64 * sizeof *exchanges);
	size_t n = 0;
	for (unsigned block = 0; block <= PLAY_FILE_BLOCKS; block++) {
		exchanges[n++] = file_exchange(block, "GET", false);
		exchanges[n++] = file_exchange(block, "HEAD", false);
		exchanges[n++] = others[block % 4];
		exchanges[n++] = file_exchange(PLAY_FILE_BLOCKS - block, "GET", false);
	}
	if (closes)
		exchanges[n++] = file_exchange(PLAY_FILE_FAILS - 1, "GET", true);
	return (struct transcript){
		.name = text("http: blocks of a file%s", closes ? ", the last one closes" : ""),
		.protocol = PROTOCOL_HTTP,
		.file = true,
		.closes = closes,
		.exchanges = exchanges,
		.count = n};
}

static void put_big_endian(char *at, uint32_t number, int bytes)
{
	for (int i = 0; i < bytes; i++)
		at[i] = (char)(number >> 8 * (bytes - 1 - i));
}

static struct exchange frame_exchange(
	uint32_t reply, uint16_t payload, uint16_t work, uint32_t delay, uint32_t id)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	char *in = kept(16 + (size_t)payload), *out = kept(16 + (size_t)reply);
	put_big_endian(in, reply, 4);
	put_big_endian(in + 4, payload, 2);
	put_big_endian(in + 6, work, 2);
	put_big_endian(in + 9, delay, 3);
	put_big_endian(in + 12, id, 4);
	for (size_t i = 0; i < payload; i++)
		in[16 + i] = (char)(0xf0 + i % 16);
	put_big_endian(out, reply, 4);
	put_big_endian(out + 12, id, 4);
	for (uint32_t i = 0; i < reply; i++)
		out[16 + i] = letters[(id + i) % 64];
	struct pause pause = {0};
	if (delay > 0 || work > 0)
		pause = (struct pause){.kind = delay ? PAUSE_DELAY : PAUSE_WORK,
			.amount = delay ? delay * UINT64_C(1000) : work * (uint64_t)LOOPS_PER_US};
	return (struct exchange){in, 16 + (size_t)payload, pause, out, 16 + (size_t)reply, true};
}

struct transcript transcript_frame(uint32_t reply, uint16_t payload, uint32_t id)
{
	return of_one(text("frame: a reply of %u bytes to %u, id %u", reply, payload, id), PROTOCOL_FRAME,
		false, frame_exchange(reply, payload, 0, 0, id));
}

struct transcript transcript_frames(size_t requests)
{
	struct exchange *exchanges = kept(requests * sizeof *exchanges);
	for (unsigned i = 0; i < requests; i++)
		exchanges[i] = frame_exchange(i * 37 % 130, (uint16_t)(i * 11 % 40), i % 5 == 1 ? 3 : 0,
			i % 5 == 3 ? i + 1 : 0, i * 2654435761u);
	return (struct transcript){.name = text("frame: %zu in a row", requests),
		.protocol = PROTOCOL_FRAME,
		.exchanges = exchanges,
		.count = requests};
}

struct transcript transcript_echo(size_t bytes)
{
	char *in = kept(bytes);
	for (size_t i = 0; i < bytes; i++)
		in[i] = (char)(i * 2654435761u >> 13);
	return of_one(text("echo: %zu bytes", bytes), PROTOCOL_ECHO, false,
		(struct exchange){in, bytes, {0}, in, bytes, false});
}

/* A name over 1,024 bytes is refused, by a FIN without a reply, as soon as its length is certain: with byte
 * 1,026, because byte 1,025 may still be a carriage return before the newline. */
struct transcript transcript_name(size_t bytes, const char *end)
{
	char *name = kept(bytes + 1);
	memset(name, 'n', bytes);
	char *in = text("%s%s", name, end);
	char *out = bytes <= 1024 ? text("Hello %s\n", name) : text("%s", "");
	size_t n = strlen(in), known = n < 1026 ? n : 1026;
	struct exchange *exchanges = kept(2 * sizeof *exchanges);
	exchanges[0] = (struct exchange){in, known, {0}, out, strlen(out), true};
	exchanges[1] = (struct exchange){in + known, n - known, {0}, "", 0, false};
	return (struct transcript){.name = text("greet: a name of %zu bytes", bytes),
		.protocol = PROTOCOL_GREET,
		.closes = true,
		.exchanges = exchanges,
		.count = n > known ? 2 : 1};
}

/* --- what must come of them --- */

struct core transcript_core(const struct transcript *transcript)
{
	return (struct core){.protocol = transcript->protocol,
		.delay_blocks = transcript->delay_blocks,
		.delay_ns = transcript->delay_ns,
		.loops_per_us = LOOPS_PER_US,
		.file_fd = PLAY_FILE_FD,
		.file_blocks = transcript->file ? PLAY_FILE_BLOCKS : 0};
}

const uint8_t *transcript_input(const struct transcript *transcript, size_t *n)
{
	*n = 0;
	for (size_t i = 0; i < transcript->count; i++)
		*n += transcript->exchanges[i].in_len;
	uint8_t *input = kept(*n + 1);
	size_t at = 0;
	for (size_t i = 0; i < transcript->count; i++) {
		memcpy(input + at, transcript->exchanges[i].in, transcript->exchanges[i].in_len);
		at += transcript->exchanges[i].in_len;
	}
	return input;
}

/* A name may end with the stream instead of a newline. */
static void expect_greeting_at_eof(const struct transcript *transcript, size_t n, struct trace *expected)
{
	const struct exchange *exchange = transcript->exchanges;
	if (n == 0)
		return;
	expected->requests = 1;
	if (n > 1024)
		return;
	if (transcript->delay_ns)
		trace_add_pause(
			expected, (struct pause){.kind = transcript->delay_blocks ? PAUSE_SLEEP : PAUSE_DELAY,
					  .amount = transcript->delay_ns});
	trace_add(expected, "Hello ", 6);
	trace_add(expected, exchange->in, n);
	trace_add(expected, "\n", 1);
}

void transcript_expect(const struct transcript *transcript, size_t n, bool eof, struct trace *expected)
{
	size_t complete = 0;
	expected->wants = eof ? CONN_CLOSE : CONN_RECV;
	for (size_t i = 0; i < transcript->count; i++) {
		const struct exchange *exchange = &transcript->exchanges[i];
		complete += exchange->in_len;
		if (complete > n) {
			size_t part = exchange->in_len - (complete - n);
			if (transcript->protocol == PROTOCOL_ECHO)
				trace_add(expected, exchange->out, part);
			else if (transcript->protocol == PROTOCOL_GREET && eof && i == 0)
				expect_greeting_at_eof(transcript, part, expected);
			return;
		}
		if (exchange->pause.kind != PAUSE_NONE)
			trace_add_pause(expected, exchange->pause);
		trace_add(expected, exchange->out, exchange->out_len);
		expected->requests += exchange->counted;
		/* The last exchange that counts is the closing one; what follows is discarded. */
		expected->shut = transcript->closes;
		for (size_t later = i + 1; later < transcript->count; later++)
			expected->shut &= !transcript->exchanges[later].counted;
	}
}
