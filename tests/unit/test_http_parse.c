/* The parser of request heads, directly: every prefix against a forbidden page, every byte in every kind of
 * place. Try: build/tests/unit/test_http_parse */
#include "http_parse.h"

#include "guard.h"
#include "transcripts.h"
#include "unit.h"

#include <stdlib.h>
#include <string.h>

void play_broken(const char *promise)
{
	fail_msg("broken: %s", promise);
	abort();
}

static void requests_are_understood(void **state)
{
	(void)state;
	static const struct {
		const char *head;
		int method, version;
		const char *path;
		bool close, keep_alive;
	} heads[] = {
		{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", HTTP_GET, HTTP_1_1, "/", false, false},
		{"HEAD /a/b HTTP/1.0\r\n\r\n", HTTP_HEAD, HTTP_1_0, "/a/b", false, false},
		{"GET /a?b HTTP/1.0\n\n", HTTP_GET, HTTP_1_0, "/a", false, false},
		{"GET http://a:1/b/c?d HTTP/1.0\n\n", HTTP_GET, HTTP_1_0, "/b/c", false, false},
		{"GET http://a HTTP/1.0\n\n", HTTP_GET, HTTP_1_0, "/", false, false},
		{"GET http://a?/b HTTP/1.0\n\n", HTTP_GET, HTTP_1_0, "/", false, false},
		{"DELETE * HTTP/3.9\n\n", HTTP_OTHER, HTTP_UNKNOWN, "*", false, false},
		{"GETS / HTTP/1.0\n\n", HTTP_OTHER, HTTP_1_0, "/", false, false},
		{"GE / HTTP/1.0\n\n", HTTP_OTHER, HTTP_1_0, "/", false, false},
		{"head / HTTP/1.0\n\n", HTTP_OTHER, HTTP_1_0, "/", false, false},
		{"GET / HTTP/1.0\nConnection: close\n\n", HTTP_GET, HTTP_1_0, "/", true, false},
		{"GET / HTTP/1.0\nconnection:a,Keep-Alive\n\n", HTTP_GET, HTTP_1_0, "/", false, true},
		{"GET / HTTP/1.0\nConnection: ,,close , keep-alive\n\n", HTTP_GET, HTTP_1_0, "/", true, true},
		{"GET / HTTP/1.0\nConnection: close keep-alive\n\n", HTTP_GET, HTTP_1_0, "/", false, false},
		{"GET / HTTP/1.0\nConnectiom: close\n\n", HTTP_GET, HTTP_1_0, "/", false, false},
	};
	for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
		struct http_request request;
		size_t n = strlen(heads[i].head);
		assert_int_equal(http_parse(&request, guard_before(heads[i].head, n), n), n);
		assert_int_equal(request.method, heads[i].method);
		assert_int_equal(request.version, heads[i].version);
		assert_int_equal(request.path_len, strlen(heads[i].path));
		assert_memory_equal(request.path, heads[i].path, request.path_len);
		assert_int_equal(request.close, heads[i].close);
		assert_int_equal(request.keep_alive, heads[i].keep_alive);
	}
}

/* What follows the head makes no difference, and before its last byte there is no answer. */
static void a_head_is_complete_with_its_last_byte(void **state)
{
	(void)state;
	for (size_t i = 0; i < transcript_count; i++) {
		const struct exchange *exchange = &transcripts[i].exchanges[0];
		if (transcripts[i].protocol != PROTOCOL_HTTP || exchange->in[0] == '\n' ||
			exchange->in[1] == '\n')
			continue;
		struct http_request request;
		for (size_t n = 0; n < exchange->in_len; n++)
			assert_int_equal(
				http_parse(&request, guard_before(exchange->in, n), n), HTTP_INCOMPLETE);
		ssize_t head =
			http_parse(&request, guard_before(exchange->in, exchange->in_len), exchange->in_len);
		assert_true(head == HTTP_MALFORMED || head == (ssize_t)exchange->in_len);
		for (int byte = 0; byte < 256; byte++) {
			char longer[1024];
			memcpy(longer, exchange->in, exchange->in_len);
			memset(longer + exchange->in_len, byte, 3);
			assert_int_equal(http_parse(&request, guard_before(longer, exchange->in_len + 3),
						 exchange->in_len + 3),
				head);
		}
	}
}

static void heads_are_limited(void **state)
{
	(void)state;
	for (size_t bytes = 8100; bytes < 8300; bytes++) {
		struct transcript transcript = transcript_head(bytes);
		size_t n;
		const uint8_t *input = transcript_input(&transcript, &n);
		struct http_request request;
		for (size_t fed = n - 200; fed <= n; fed++) {
			ssize_t expected = fed == n && n <= 8192 ? (ssize_t)n
					   : fed < 8192          ? HTTP_INCOMPLETE
								 : HTTP_TOO_LARGE;
			assert_int_equal(http_parse(&request, guard_before(input, fed), fed), expected);
		}
	}
}

/* Where a byte may stand, after RFC 9110 (5.5, 5.6.2) and RFC 9112 (3): written as lists, not as a table. */
static const char digits_and_letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

static bool in(int byte, const char *list)
{
	return byte != 0 && strchr(list, byte);
}

static bool may_be_in_token(int byte)
{
	return in(byte, digits_and_letters) || in(byte, "!#$%&'*+-.^_`|~");
}

static bool may_be_in_name(int byte) /* or end it: the rest is then the value */
{
	return may_be_in_token(byte) || byte == ':';
}

static bool may_be_in_target(int byte)
{
	return may_be_in_token(byte) || in(byte, "\"(),/:;<=>?@[\\]{}");
}

static bool may_be_in_value(int byte)
{
	return may_be_in_target(byte) || byte == ' ' || byte == '\t' || byte >= 0x80;
}

static bool may_end_version(int byte)
{
	return in(byte, "0123456789");
}

static void every_byte_in_every_place(void **state)
{
	(void)state;
	static const struct {
		const char *before, *behind;
		bool (*may)(int byte);
	} places[] = {
		{"G", "T / HTTP/1.0\r\n\r\n", may_be_in_token},
		{"GET /a", "b HTTP/1.0\r\n\r\n", may_be_in_target},
		{"GET / HTTP/1.", "\r\n\r\n", may_end_version},
		{"GET / HTTP/", ".1\r\nHost:x\r\n\r\n", may_end_version},
		{"GET / HTTP/1.0\r\nA", "b: c\r\n\r\n", may_be_in_name},
		{"GET / HTTP/1.0\r\nAb: c", "d\r\n\r\n", may_be_in_value},
		{"GET / HTTP/1.0\r\nAb:", "cd\r\n\r\n", may_be_in_value},
	};
	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
		for (int byte = 0; byte < 256; byte++) {
			char head[64];
			size_t before = strlen(places[i].before), behind = strlen(places[i].behind);
			memcpy(head, places[i].before, before);
			head[before] = (char)byte;
			memcpy(head + before + 1, places[i].behind, behind);
			struct http_request request;
			ssize_t n = http_parse(
				&request, guard_before(head, before + 1 + behind), before + 1 + behind);
			bool host_needed = i == 2 && byte == '1'; /* this one makes it HTTP/1.1 */
			if ((n > 0) != (places[i].may(byte) && !host_needed))
				fail_msg("byte 0x%02x between '%s' and '%s': %s", byte, places[i].before,
					places[i].behind, n > 0 ? "taken" : "refused");
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_are_understood),
		cmocka_unit_test(a_head_is_complete_with_its_last_byte),
		cmocka_unit_test(heads_are_limited),
		cmocka_unit_test(every_byte_in_every_place),
	};
	return cmocka_run_group_tests_name("heads", tests, NULL, NULL);
}
