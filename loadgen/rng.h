/* A small seeded generator (xoshiro256**, Blackman and Vigna 2018): the same seed and stream give the same run.
 */
#ifndef LOADGEN_RNG_H
#define LOADGEN_RNG_H

#include <math.h>
#include <stdint.h>

struct rng {
	uint64_t s[4];
};

static inline void rng_init(struct rng *rng, uint64_t seed, uint64_t stream)
{
	uint64_t x = seed ^ (stream * 0xd1342543de82ef95ULL);

	for (int i = 0; i < 4; i++) { /* splitmix64, as its authors advise for filling the state */
		uint64_t z = (x += 0x9e3779b97f4a7c15ULL);
		z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
		z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
		rng->s[i] = z ^ (z >> 31);
	}
}

static inline uint64_t rng_next(struct rng *rng)
{
	uint64_t *s = rng->s, five = s[1] * 5;
	uint64_t result = ((five << 7) | (five >> 57)) * 9, t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = (s[3] << 45) | (s[3] >> 19);
	return result;
}

/* Uniform in (0, 1]. */
static inline double rng_unit(struct rng *rng)
{
	return (double)((rng_next(rng) >> 11) + 1) * 0x1.0p-53;
}

/* Exponential with mean 1. */
static inline double rng_exponential(struct rng *rng)
{
	return -log(rng_unit(rng));
}

#endif
