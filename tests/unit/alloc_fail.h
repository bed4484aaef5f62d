/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fails the n-th allocation of a constructor, for every n. A test executable that includes this
 *file once links with alloc_fail_args (tests/unit/meson.build), so that every malloc, calloc,
 *realloc, aligned_alloc, posix_memalign and strdup of the library passes through here.
 *
 *	for (alloc_fail_begin(); alloc_fail_more();)
 *		... call the constructor; when it succeeds, destroy ...
 *
 * The loop ends after the first round in which no allocation was made to fail.
 */
#ifndef TESTS_ALLOC_FAIL_H
#define TESTS_ALLOC_FAIL_H

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local long alloc_fail_countdown = -1; /* -1: off */
static long alloc_fail_round;
static bool alloc_fail_hit;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t m);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t a, size_t n);
int __real_posix_memalign(void **p, size_t a, size_t n);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t m);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t a, size_t n);
int __wrap_posix_memalign(void **p, size_t a, size_t n);
char *__wrap_strdup(const char *s);

static bool alloc_fail_now(void)
{
	if (alloc_fail_countdown < 0)
		return false;
	if (alloc_fail_countdown-- > 0)
		return false;
	alloc_fail_hit = true;
	errno = ENOMEM;
	return true;
}

void *__wrap_malloc(size_t n)
{
	return alloc_fail_now() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t m)
{
	return alloc_fail_now() ? NULL : __real_calloc(n, m);
}

void *__wrap_realloc(void *p, size_t n)
{
	return alloc_fail_now() ? NULL : __real_realloc(p, n);
}

void *__wrap_aligned_alloc(size_t a, size_t n)
{
	return alloc_fail_now() ? NULL : __real_aligned_alloc(a, n);
}

int __wrap_posix_memalign(void **p, size_t a, size_t n)
{
	return alloc_fail_now() ? ENOMEM : __real_posix_memalign(p, a, n);
}

char *__wrap_strdup(const char *s)
{
	return alloc_fail_now() ? NULL : __real_strdup(s);
}

static inline void alloc_fail_begin(void)
{
	alloc_fail_round = -1;
	alloc_fail_hit = true;
	alloc_fail_countdown = -1;
}

/* Arms the next round; false (and disarmed) once a round ran without a failure. */
static inline bool alloc_fail_more(void)
{
	if (!alloc_fail_hit) {
		alloc_fail_countdown = -1;
		return false;
	}
	alloc_fail_hit = false;
	alloc_fail_countdown = ++alloc_fail_round;
	return true;
}

/* Inside a round: no failures from here on (teardown, checks). */
static inline void alloc_fail_off(void)
{
	alloc_fail_countdown = -1;
}

#endif
