#include "parse.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"

struct unit {
	const char *name;
	double factor;
};

/* A non-negative decimal number, then exactly one of the units. */
static bool parse_scaled(const char *text, const struct unit *units, double *out)
{
	char *end;

	/* strtod would also take signs, blanks, hexadecimal, "inf" and "nan". */
	if (!isdigit((unsigned char)text[0]) || text[strspn(text, "0123456789.")] == 'e' || strpbrk(text, "xX"))
		return false;
	double number = strtod(text, &end);
	for (; units->name; units++) {
		if (strcmp(end, units->name) == 0) {
			*out = number * units->factor;
			return isfinite(*out);
		}
	}
	return false;
}

static bool parse_whole(const char *text, const struct unit *units, uint64_t *out)
{
	double value;

	if (!parse_scaled(text, units, &value) || value != floor(value) || value > 9e15)
		return false;
	*out = (uint64_t)value;
	return true;
}

bool parse_count(const char *text, uint64_t *out)
{
	static const struct unit units[] = {{"", 1}, {"k", 1e3}, {"M", 1e6}, {NULL, 0}};
	return parse_whole(text, units, out);
}

bool parse_bytes(const char *text, uint64_t *out)
{
	static const struct unit units[] = {{"", 1}, {"KiB", 1024}, {"MiB", 1048576}, {NULL, 0}};
	return parse_whole(text, units, out);
}

bool parse_time_ns(const char *text, uint64_t *out)
{
	static const struct unit units[] = {
		{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"", 1e9}, {NULL, 0}};
	double ns;

	if (!parse_scaled(text, units, &ns) || ns > 9e15)
		return false;
	*out = (uint64_t)llround(ns);
	return true;
}

bool parse_rate(const char *text, double *per_second)
{
	static const struct unit units[] = {{"", 1}, {"k", 1e3}, {"M", 1e6}, {NULL, 0}};
	double rate;

	if (!parse_scaled(text, units, &rate) || rate <= 0 || rate > 1e9)
		return false;
	*per_second = rate;
	return true;
}

bool parse_cpus(const char *text, cpu_set_t *out)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	for (const char *at = text;;) {
		char *end;
		if (!isdigit((unsigned char)*at))
			return false;
		unsigned long first = strtoul(at, &end, 10), last = first;
		if (*end == '-') {
			if (!isdigit((unsigned char)end[1]))
				return false;
			last = strtoul(end + 1, &end, 10);
		}
		if (last < first || last >= CPU_SETSIZE)
			return false;
		for (unsigned long cpu = first; cpu <= last; cpu++)
			CPU_SET(cpu, &cpus);
		if (*end == '\0')
			break;
		if (*end != ',')
			return false;
		at = end + 1;
	}
	*out = cpus;
	return true;
}
