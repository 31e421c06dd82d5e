/* The kernel's half of servers/sockmap.c: whatever a socket of the map receives goes back out of the same
 * socket.
 *
 * It runs where the bytes arrive, before any process is woken, once for each piece that TCP hands up. A socket
 * is found by its cookie, a number that the kernel never gives to another one: not even a piece that comes late
 * can reach a stranger. docs.kernel.org/bpf/map_sockmap.html has the rest.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 1); /* the server sets it to its descriptor limit */
	__type(key, __u64);     /* SO_COOKIE */
	__type(value, __u64);   /* a descriptor, on the way in */
} sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} pieces SEC(".maps");

SEC("sk_skb/stream_verdict")
int echo(struct __sk_buff *skb)
{
	__u32 first = 0;
	__u64 *count = bpf_map_lookup_elem(&pieces, &first);
	if (count && skb->len > 0) /* the FIN comes by here too */
		__sync_fetch_and_add(count, 1);
	__u64 cookie = bpf_get_socket_cookie(skb);
	return bpf_sk_redirect_hash(skb, &sockets, &cookie, 0);
}
