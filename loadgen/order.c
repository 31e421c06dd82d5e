#include "order.h"

static uint64_t bit_of(uint64_t seq)
{
	return 1ULL << (seq & 63);
}

/* A number passed over may still come; a number that came too soon must not come again. */
bool order_moved(struct order *o, uint64_t asked, uint64_t issued, uint64_t seq)
{
	bool given = seq < asked ? !(o->missing & bit_of(seq)) : (o->early & bit_of(seq)) != 0;

	if (seq >= issued || given)
		return false;
	if (seq < asked)
		o->missing &= ~bit_of(seq);
	else
		o->early |= bit_of(seq);
	if (o->early & bit_of(asked))
		o->early &= ~bit_of(asked);
	else
		o->missing |= bit_of(asked);
	return true;
}

bool order_repeated(const struct order *o, uint64_t asked)
{
	return (o->early & bit_of(asked)) != 0;
}
