/* count_alloc: counts what a program asks of the allocator, for the exact tier of the gate (bench/exact.py).
 *
 * Loaded before the C library by LD_PRELOAD, its malloc and kin stand in for the library's, count, and pass on
 * to it under the names that glibc keeps for the purpose (__libc_malloc; malloc(3), "Replacing malloc" in the
 * glibc manual). The counts live in a file that MUXBENCH_ALLOCATIONS names, mapped shared: a reader outside
 * sees them at any moment without stopping the program or entering it, and a forked child adds to the same
 * ones.
 *
 * Why no tracer: ltrace's breakpoints see the calls of one object only, slow each down a thousandfold and need
 * ptrace, which strace has already taken; valgrind's own counts cover a whole life, start-up included.
 *
 *     MUXBENCH_ALLOCATIONS=/tmp/counts LD_PRELOAD=build/preload/count_alloc.so build/servers/epoll_lt
 *
 * A statically linked program has no malloc to stand in for: the file stays without its mark, and is reported
 * so.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* The file's layout, which bench/exact.py reads: eight 64-bit words of the host's byte order. */
struct counts {
	_Atomic uint64_t mark; /* MARK once a program counts into it */
	_Atomic uint64_t mallocs, callocs, reallocs, aligned, frees;
	_Atomic uint64_t got_bytes, given_back_bytes; /* as the allocator rounds them: malloc_usable_size(3) */
};
#define MARK UINT64_C(0x636f756e74616c31)

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void __libc_free(void *);

static struct counts
	early; /* what is asked for before the file is mapped; it belongs to start-up and is dropped */
static struct counts *counts = &early;

__attribute__((constructor)) static void map_counts(void)
{
	const char *path = getenv("MUXBENCH_ALLOCATIONS");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	if (fd < 0)
		return;
	void *map = mmap(NULL, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		return;
	counts = map;
	counts->mark = MARK;
}

static void add(_Atomic uint64_t *count, uint64_t n)
{
	atomic_fetch_add_explicit(count, n, memory_order_relaxed);
}

static void *got(_Atomic uint64_t *count, void *block)
{
	add(count, 1);
	add(&counts->got_bytes, malloc_usable_size(block));
	return block;
}

void *malloc(size_t size)
{
	return got(&counts->mallocs, __libc_malloc(size));
}

void *calloc(size_t members, size_t size)
{
	return got(&counts->callocs, __libc_calloc(members, size));
}

void *realloc(void *old, size_t size)
{
	size_t held = malloc_usable_size(old);
	void *block = __libc_realloc(old, size);
	add(&counts->reallocs, 1);
	if (block || size == 0) { /* else the old block stays as it was */
		add(&counts->given_back_bytes, held);
		add(&counts->got_bytes, malloc_usable_size(block));
	}
	return block;
}

void *memalign(size_t alignment, size_t size)
{
	return got(&counts->aligned, __libc_memalign(alignment, size));
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return memalign(alignment, size);
}

int posix_memalign(void **block, size_t alignment, size_t size)
{
	if (alignment % sizeof(void *) || (alignment & (alignment - 1)))
		return EINVAL;
	void *found = memalign(alignment, size);
	if (!found)
		return ENOMEM;
	*block = found;
	return 0;
}

void free(void *block)
{
	if (!block)
		return;
	add(&counts->frees, 1);
	add(&counts->given_back_bytes, malloc_usable_size(block));
	__libc_free(block);
}
