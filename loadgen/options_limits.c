/* What this host cannot give, and what no server can: descriptors, local ports, and rates that the connections
 * cannot carry. Said before the run, with the number that would work. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "clock.h"
#include "net.h"
#include "options.h"

enum {
	OWN_FDS = 32, /* for the program itself, and for each thread's engine */
	CHURN_SOURCES = 16,
	EASY_PORTS_PERCENT =
		40, /* connect() looks at the ports of one parity first: beyond half, at all of them */
	USABLE_PORTS_PERCENT = 80, /* close to all of them, it searches very long */
	FRAME_HEAD_BYTES = 16,
	TIME_WAIT_S = 60,
	TIME_WAIT_REUSED_S = 1, /* where the kernel may use such a port again */
};

/* The first number in a file of /proc; `otherwise` where there is none. */
static int first_number(const char *path, int otherwise)
{
	int value = otherwise;
	FILE *file = fopen(path, "re");

	if (file) {
		if (fscanf(file, "%d", &value) != 1)
			value = otherwise;
		fclose(file);
	}
	return value;
}

static uint64_t local_ports(void)
{
	unsigned first = 32768, last = 60999;
	FILE *file = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");

	if (file) {
		if (fscanf(file, "%u %u", &first, &last) != 2)
			first = 32768, last = 60999;
		fclose(file);
	}
	return last >= first ? last - first + 1 : 0;
}

/* Connections of the whole run, those of its populations included. */
static uint64_t all_connections(const struct options *o)
{
	uint64_t sum = o->connections + o->idle;

	for (uint32_t i = 0; i < o->population_count; i++)
		sum += o->populations[i]->connections + o->populations[i]->idle;
	return sum;
}

static bool opens_per_request(const struct options *o)
{
	bool some = o->per_connection > 0 || o->protocol == PROTOCOL_GREET;

	for (uint32_t i = 0; i < o->population_count; i++)
		some = some || opens_per_request(o->populations[i]);
	return some;
}

static bool check_sources(const struct options *o, struct target *target, char *why, size_t size)
{
	uint64_t sockets = all_connections(o), usable = local_ports() * USABLE_PORTS_PERCENT / 100;
	bool loopback = net_is_loopback4(target), churn = opens_per_request(o);

	if (o->sources > 1 && !loopback)
		return options_wrong(why, size,
			"--sources %" PRIu64 ": only a target in 127.0.0.0/8 can be reached from several "
			"local addresses",
			o->sources);
	if (target->address.ss_family == AF_UNIX)
		return true;
	uint64_t easy = local_ports() * EASY_PORTS_PERCENT / 100,
		 needed = easy ? (sockets + easy - 1) / easy : 0;
	target->sources = (unsigned)(options_given(o, "sources") ? o->sources
				     : loopback && churn         ? CHURN_SOURCES
								 : needed);
	if (target->sources <= 1 || !loopback)
		target->sources = options_given(o, "sources") && loopback ? target->sources : 0;
	uint64_t most = usable * (target->sources ? target->sources : 1);
	if (sockets > most)
		return options_wrong(why, size,
			"%" PRIu64 " connections need more local ports than the %" PRIu64
			" that can be used towards one address (net.ipv4.ip_local_port_range); at most "
			"--connections and --idle %" PRIu64 " together",
			sockets, usable, most);
	return true;
}

/* --- rates --- */

/* Bytes of a request, where the options alone say it. */
static uint64_t request_bytes(const struct options *o)
{
	if (o->protocol == PROTOCOL_FRAME)
		return FRAME_HEAD_BYTES + o->size;
	return o->protocol == PROTOCOL_ECHO || o->protocol == PROTOCOL_GREET ? o->size : 0;
}

/* How long a request of this class takes at least, by what was asked for. */
static double least_ns(const struct options *o)
{
	uint64_t bytes = request_bytes(o);
	uint64_t pauses = o->send_part && bytes ? (bytes - 1) / o->send_part : 0;

	return (double)o->delay_ns + (double)(pauses * o->send_every_ns);
}

/* The mean over the classes of a load. */
static double mean_least_ns(const struct options *load)
{
	double sum = 0, weights = 0;

	for (uint32_t i = 0; i < options_class_count(load); i++) {
		const struct options *one = options_class(load, i);
		sum += (double)one->weight * least_ns(one);
		weights += (double)one->weight;
	}
	return sum / weights;
}

static bool check_reach(const struct options *load, char *why, size_t size)
{
	double least = mean_least_ns(load), places = (double)(load->connections * load->depth);
	double rate =
		load->mode == MODE_OPEN ? profile_requests(&load->rate) * 1e9 / (double)load->duration_ns : 0;

	if (load->send_part)
		places = (double)load->connections; /* what leaves in parts leaves one after another */
	if (least <= 0 || rate * least / 1e9 <= places)
		return true;
	return options_wrong(why, size,
		"%s%s--rate: a request takes at least %.3g ms by its own delay and pauses, so %" PRIu64
		" connections carry at most %.0f of these %.0f requests per second; use at least --connections "
		"%.0f",
		load->name ? load->name : "", load->name ? ": " : "", least / 1e6, load->connections,
		places * 1e9 / least, rate, ceil((double)load->connections * rate * least / 1e9 / places));
}

/* Connections that are opened per request and closed on this side leave a port behind each, for a minute, or
 * for a second where the kernel may use it again towards the same server. */
static bool check_churn(const struct options *load, const struct target *target, char *why, size_t size)
{
	int reuse = first_number("/proc/sys/net/ipv4/tcp_tw_reuse", 0);
	bool reused = reuse == 1 || (reuse == 2 && net_is_loopback4(target));
	double held_s = reused ? TIME_WAIT_REUSED_S : TIME_WAIT_S;
	double run_s = (double)(load->warmup_ns + load->duration_ns) / 1e9;

	if (load->mode != MODE_OPEN || !opens_per_request(load) || target->address.ss_family == AF_UNIX)
		return true;
	double rate = profile_requests(&load->rate) * 1e9 / (double)load->duration_ns;
	double ports = (double)(local_ports() * (target->sources ? target->sources : 1));
	double lives = rate / (double)(load->per_connection ? load->per_connection : 1);
	if (held_s > run_s)
		held_s = run_s;
	if (lives * held_s <= ports)
		return true;
	return options_wrong(why, size,
		"%s%s--rate: %.0f connections per second leave %.0f local ports in TIME_WAIT, and there are "
		"%.0f; at most "
		"--rate %.0f with these --sources",
		load->name ? load->name : "", load->name ? ": " : "", lives, lives * held_s, ports,
		floor(ports / held_s * rate / lives));
}

static bool check_load(const struct options *load, const struct target *target, char *why, size_t size)
{
	return check_reach(load, why, size) && check_churn(load, target, why, size);
}

static bool check_loads(const struct options *o, const struct target *target, char *why, size_t size)
{
	bool fine = check_load(o, target, why, size);

	for (uint32_t i = 0; fine && i < o->population_count; i++)
		fine = check_load(o->populations[i], target, why, size);
	return fine;
}

bool options_limits(const struct options *o, struct target *target, char *why, size_t size)
{
	struct rlimit limit;
	uint64_t sockets = all_connections(o), own = OWN_FDS + 4 * (o->threads + o->population_count);

	target->no_delay = o->no_delay;
	target->receive_buffer = (int)o->receive_buffer;
	target->send_buffer = (int)o->send_buffer;
	target->busy_poll_us = (int)(o->busy_poll_ns / NS_PER_US);
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && sockets + own > limit.rlim_cur)
		return options_wrong(why, size,
			"%" PRIu64 " connections need %" PRIu64 " file descriptors and the limit is %" PRIu64
			": raise it (ulimit -n %" PRIu64 "), or use at most %" PRIu64
			" connections, idle ones included",
			sockets, sockets + own, (uint64_t)limit.rlim_cur, sockets + own,
			limit.rlim_cur > own ? (uint64_t)limit.rlim_cur - own : 0);
	return check_sources(o, target, why, size) && check_loads(o, target, why, size);
}
