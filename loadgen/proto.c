#include "proto.h"

#include <stdlib.h>
#include <string.h>

#include "expected.h"

static const struct proto_ops *const protocols[] = {[PROTOCOL_ECHO] = &proto_echo,
	[PROTOCOL_GREET] = &proto_greet,
	[PROTOCOL_HTTP] = &proto_http,
	[PROTOCOL_FRAME] = &proto_frame,
	[PROTOCOL_RAW] = &proto_raw};

enum {
	MAX_DIGITS = 10, /* of a number below 2^32 */
	REPEATED_BYTES = 65536,
};

static size_t digits(uint32_t number)
{
	size_t n = 1;

	for (; number > 9; number /= 10)
		n++;
	return n;
}

bool proto_init(struct proto *p, const struct options *load, const struct payload *payload,
	const struct expected *expected)
{
	memset(p, 0, sizeof(*p));
	p->ops = protocols[load->protocol];
	p->payload = payload;
	p->kind_count = options_class_count(load);
	for (uint32_t i = 0; i < p->kind_count; i++) {
		const struct options *one = options_class(load, i);
		p->kinds[i] = (struct kind){
			.options = one, .expected = expected ? &expected[i] : NULL, .delay_ns = one->delay_ns};
		p->numbered = p->numbered || one->numbers.any;
	}
	return p->ops->init(p);
}

void proto_fini(struct proto *p)
{
	if (p->ops && p->ops->fini)
		p->ops->fini(p);
}

size_t proto_request_len(const struct proto *p, struct choice choice)
{
	const struct kind *k = &p->kinds[choice.kind];

	return k->request_len + (p->numbered && k->options->numbers.any ? digits(choice.number) : 0);
}

size_t proto_longest(const struct proto *p)
{
	size_t longest = 0;

	for (uint32_t i = 0; i < p->kind_count; i++) {
		size_t length = p->kinds[i].request_len + (p->kinds[i].options->numbers.any ? MAX_DIGITS : 0);
		longest = length > longest ? length : longest;
	}
	return longest;
}

bool proto_repeat(struct proto *p, uint8_t **bytes)
{
	const struct expected *e = p->kinds[0].expected;
	size_t length = e->request_len, count = length < REPEATED_BYTES ? REPEATED_BYTES / length : 1;
	uint64_t depth = p->kinds[0].options->depth;

	if (count > depth)
		count = (size_t)depth;
	*bytes = malloc(count * length);
	if (!*bytes)
		return false;
	for (size_t i = 0; i < count; i++)
		memcpy(*bytes + i * length, e->request, length);
	p->constant = *bytes;
	p->constant_count = count;
	return true;
}
