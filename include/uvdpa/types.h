/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Words that every header of this library uses: the three kinds of address, errors that a person
 * will read, and named attributes (the key/value pairs of "uvdpa dev add ... KEY VALUE").
 *
 * Since 0.1, unless a function says otherwise.
 */
#ifndef UVDPA_TYPES_H
#define UVDPA_TYPES_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Marks what the shared library exports; everything else has hidden visibility. */
#define VDPA_API __attribute__((visibility("default")))
#define VDPA_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/** I/O virtual address: what a driver writes into a ring. Meaningful only inside one address space.
 */
typedef uint64_t iova_t;
/** Guest physical address: what the dirty log counts in. */
typedef uint64_t gpa_t;

/**
 * What went wrong, for a person: what was given, what is allowed, what to do. Functions that can be
 * reached by a person's input take one (it may be NULL) and fill it whenever they return an error.
 */
struct vdpa_error {
	char object[96]; /**< path of the object, such as "dev/d0"; "" when there is none */
	char msg[416];	 /**< one line, no full stop */
};

/**
 * Fill @err (if not NULL) and return -@code (so that "return vdpa_error_set(...)" is one line).
 * @code: a positive errno. @object: may be NULL: an object that was set already is kept. Any
 * thread.
 */
VDPA_API int vdpa_error_set(struct vdpa_error *err, int code, const char *object, const char *fmt,
			    ...) VDPA_PRINTF(4, 5);

/**
 * Completion of an operation that does not wait. @fn runs exactly once, on the control loop unless
 * the operation's description says otherwise, possibly before the operation's call has returned.
 * @result: 0 or -errno. An operation that returns an error at once does not call @fn.
 * Copied by the operation: it may live on the caller's stack.
 */
struct vdpa_done {
	void (*fn)(void *arg, int result);
	void *arg;
};

static inline void vdpa_done_call(const struct vdpa_done *done, int result)
{
	if (done && done->fn)
		done->fn(done->arg, result);
}

/** A named attribute. Lists of them end with a NULL key. Strings belong to whoever made the list.
 */
struct vdpa_attr {
	const char *key;
	const char *value;
};

enum vdpa_attr_type {
	VDPA_ATTR_STRING,
	VDPA_ATTR_PATH,
	VDPA_ATTR_U64,	/**< decimal or 0x hexadecimal */
	VDPA_ATTR_SIZE, /**< bytes; suffix K, M, G, T (powers of 1024) allowed */
	VDPA_ATTR_BOOL, /**< on, off (also true/false, yes/no, 1/0) */
	VDPA_ATTR_MAC,	/**< six bytes, aa:bb:cc:dd:ee:ff */
	VDPA_ATTR_ENUM, /**< one of choices[] */
	VDPA_ATTR_FD,	/**< number of a file descriptor that this process was given */
};

/** One allowed attribute; a table of them feeds parsing, help, completion and documentation. */
struct vdpa_attr_spec {
	const char *name; /**< NULL ends the table */
	enum vdpa_attr_type type;
	bool required;
	uint64_t min, max;	    /**< U64 and SIZE; max 0: no limit */
	const char *const *choices; /**< ENUM: NULL-terminated */
	const char *help;	    /**< one line */
};

/** Value of @key in @attrs (which may be NULL), or NULL. */
VDPA_API const char *vdpa_attr_get(const struct vdpa_attr *attrs, const char *key);

/**
 * Check @attrs against @spec: unknown or doubled keys, missing required ones, malformed or
 * out-of-range values. Returns 0, -EINVAL or -ERANGE with @err filled: the message names the
 * attribute, the value and what is allowed.
 */
VDPA_API int vdpa_attr_check(const struct vdpa_attr *attrs, const struct vdpa_attr_spec *spec,
			     const char *object, struct vdpa_error *err);

/**
 * Typed reads for after vdpa_attr_check(): value of @key, or @def when absent or malformed.
 * Sizes are bytes.
 */
VDPA_API uint64_t vdpa_attr_u64(const struct vdpa_attr *attrs, const char *key, uint64_t def);
VDPA_API uint64_t vdpa_attr_size(const struct vdpa_attr *attrs, const char *key, uint64_t def);
VDPA_API bool vdpa_attr_bool(const struct vdpa_attr *attrs, const char *key, bool def);
/** Returns true and fills @mac when @key is present and well formed. */
VDPA_API bool vdpa_attr_mac(const struct vdpa_attr *attrs, const char *key, uint8_t mac[6]);

#ifdef __cplusplus
}
#endif
#endif
