/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control protocol: JSON-RPC 2.0 over a UNIX stream socket, one object per line. What both ends
 * have to agree on is here; docs/control-protocol.md has it in words.
 */
#ifndef CTL_PROTO_H
#define CTL_PROTO_H

/** Goes up by one when a method or a key is added; the first number when something is taken away.
 */
#define CTL_API_MAJOR 1
#define CTL_API_MINOR 0

/** Longest request and longest answer, newline excluded. */
#define CTL_REQUEST_MAX (1u << 20)
#define CTL_REPLY_MAX (16u << 20)
/** Deepest nesting of arrays and objects. */
#define CTL_DEPTH_MAX 16

/** Error codes of JSON-RPC 2.0, section 5.1, and one of our own. */
#define CTL_E_PARSE (-32700)
#define CTL_E_REQUEST (-32600)
#define CTL_E_METHOD (-32601)
#define CTL_E_PARAMS (-32602)
/** The operation failed: error.data has "errno" (such as "EBUSY") and maybe "object". */
#define CTL_E_FAILED (-32000)

/** Version of the configuration file, which is also what config.dump answers. */
#define CTL_CONFIG_VERSION 1

#endif
