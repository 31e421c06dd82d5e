#include "text.h"

#include <stdio.h>

const char *text_duration(double ns, char *out, size_t size)
{
	static const struct {
		double factor;
		const char *name;
	} units[] = {{1e9, "s"}, {1e6, "ms"}, {1e3, "us"}, {1, "ns"}};
	size_t i = 0;

	while (i < 3 && ns < units[i].factor)
		i++;
	double value = ns / units[i].factor;
	snprintf(out, size, "%.*f %s", value < 10 ? 2 : value < 100 ? 1 : 0, value, units[i].name);
	return out;
}
