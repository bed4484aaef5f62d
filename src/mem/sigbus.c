// SPDX-License-Identifier: BSD-3-Clause
/*
 * A peer that shrinks a file which it gave us makes our next access a SIGBUS. The handler finds the
 * region by address, puts zeroes where the file was, marks the region broken and returns:
 * the access goes on, and the device that owns the region is stopped soon after. Everything else
 * in the process is unaffected.
 *
 * The handler may run at any instruction of any thread, so the registry is read without locks:
 * chunks of slots that are never freed, each slot with a sequence number (odd: being changed) that
 * tells whether the fields read belong together. A registry and a handler are process-wide by
 * nature: this is the one piece of state that hangs off no context.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <uvdpa/mem.h>

#include "mem/sigbus.h"

#define CHUNK_SLOTS 64

struct sigbus_slot {
	_Atomic unsigned seq;	       /* 0 or even: stable */
	_Atomic uintptr_t first, last; /* last 0: unused */
	_Atomic size_t page_bytes;
	_Atomic int prot;
	_Atomic(_Atomic bool *) broken;
	struct sigbus_slot *next_free; /* under the lock */
};

struct sigbus_chunk {
	struct sigbus_chunk *next;
	struct sigbus_slot slots[CHUNK_SLOTS];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* writers only */
static _Atomic(struct sigbus_chunk *) chunks;
static struct sigbus_slot *free_slots;
static _Atomic unsigned long events;
static bool installed; /* under the lock */
static struct sigaction earlier;

unsigned long sigbus_events(void)
{
	return atomic_load_explicit(&events, memory_order_relaxed);
}

static void slot_set(struct sigbus_slot *slot, const struct sigbus_range *range)
{
	uintptr_t first = range ? (uintptr_t)range->first : 0;

	atomic_fetch_add(&slot->seq, 1);
	atomic_store(&slot->first, first);
	atomic_store(&slot->last, range ? first + range->bytes - 1 : 0);
	atomic_store(&slot->page_bytes, range ? range->page_bytes : 0);
	atomic_store(&slot->prot, range ? range->prot : 0);
	atomic_store(&slot->broken, range ? range->broken : NULL);
	atomic_fetch_add(&slot->seq, 1);
}

static int more_slots(void)
{
	struct sigbus_chunk *chunk = calloc(1, sizeof(*chunk));

	if (!chunk)
		return -ENOMEM;
	for (unsigned i = 0; i < CHUNK_SLOTS; i++) {
		chunk->slots[i].next_free = free_slots;
		free_slots = &chunk->slots[i];
	}
	chunk->next = atomic_load(&chunks);
	atomic_store(&chunks, chunk);
	return 0;
}

int sigbus_register(const struct sigbus_range *range, struct sigbus_slot **out)
{
	struct sigbus_slot *slot;

	pthread_mutex_lock(&lock);
	if (!free_slots && more_slots()) {
		pthread_mutex_unlock(&lock);
		return -ENOMEM;
	}
	slot = free_slots;
	free_slots = slot->next_free;
	slot_set(slot, range);
	pthread_mutex_unlock(&lock);
	*out = slot;
	return 0;
}

void sigbus_unregister(struct sigbus_slot *slot)
{
	if (!slot)
		return;
	pthread_mutex_lock(&lock);
	slot_set(slot, NULL);
	slot->next_free = free_slots;
	free_slots = slot;
	pthread_mutex_unlock(&lock);
}

/* ---- in the handler: async-signal-safe only ---- */

struct slot_copy {
	uintptr_t last;
	size_t page_bytes;
	int prot;
	_Atomic bool *broken;
};

static bool slot_read(struct sigbus_slot *slot, uintptr_t addr, struct slot_copy *range)
{
	unsigned seq = atomic_load(&slot->seq);
	uintptr_t first = atomic_load(&slot->first), last = atomic_load(&slot->last);

	range->last = last;
	range->page_bytes = atomic_load(&slot->page_bytes);
	range->prot = atomic_load(&slot->prot);
	range->broken = atomic_load(&slot->broken);
	/* A slot that changes now is not the one that holds @addr: that region is in use. */
	return !(seq & 1) && atomic_load(&slot->seq) == seq && last && addr >= first &&
	       addr <= last;
}

/*
 * The file ends before @addr, so all that follows is lost as well and goes at once. A page at a
 * time would let a peer use up the process's mappings, by faults on every second page of a large
 * region.
 */
static bool replace_lost(uintptr_t addr)
{
	struct slot_copy range;
	uintptr_t page;

	for (struct sigbus_chunk *chunk = atomic_load(&chunks); chunk; chunk = chunk->next) {
		for (unsigned i = 0; i < CHUNK_SLOTS; i++) {
			if (!slot_read(&chunk->slots[i], addr, &range))
				continue;
			page = addr & ~(uintptr_t)(range.page_bytes - 1);
			if (mmap((void *)page, range.last - page + 1, range.prot,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1,
				 0) == MAP_FAILED)
				return false;
			atomic_store(range.broken, true);
			atomic_fetch_add(&events, 1);
			return true;
		}
	}
	return false;
}

static void chain(int sig, siginfo_t *info, void *context)
{
	struct sigaction dfl = {.sa_handler = SIG_DFL};

	if (earlier.sa_flags & SA_SIGINFO) {
		earlier.sa_sigaction(sig, info, context);
		return;
	}
	if (earlier.sa_handler != SIG_DFL && earlier.sa_handler != SIG_IGN) {
		earlier.sa_handler(sig);
		return;
	}
	/* A fault repeats when we return, and ends the process; a signal that was sent does not. */
	if (info->si_code <= 0 && earlier.sa_handler == SIG_IGN)
		return;
	sigaction(SIGBUS, &dfl, NULL);
	if (info->si_code <= 0)
		raise(SIGBUS);
}

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	int saved = errno;

	if (info->si_code != BUS_ADRERR || !replace_lost((uintptr_t)info->si_addr))
		chain(sig, info, context);
	errno = saved;
}

int vdpa_sigbus_install(void)
{
	struct sigaction sa = {.sa_sigaction = on_sigbus,
			       .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
	int ret = 0;

	sigemptyset(&sa.sa_mask);
	pthread_mutex_lock(&lock);
	/* Once only: a second time would put ourselves behind ourselves. */
	if (!installed) {
		if (sigaction(SIGBUS, NULL, &earlier) || sigaction(SIGBUS, &sa, NULL))
			ret = -errno;
		else
			installed = true;
	}
	pthread_mutex_unlock(&lock);
	return ret;
}
