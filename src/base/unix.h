/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Listening UNIX sockets with a file. The file has the permissions asked for from the moment it
 * exists; a file that is there is only ever replaced when it is a socket on which nobody listens,
 * and only removed when it is still the one that was made here. (Linux gives the file the mode of
 * the unbound socket, less the umask: so it never has more than was asked for.)
 */
#ifndef BASE_UNIX_H
#define BASE_UNIX_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/un.h>
#include <uvdpa/types.h>

struct vdpa_unix {
	int fd;	    /* listening, not blocking; -1: none */
	char *path; /* of the file that was made; NULL: none */
	dev_t dev;
	ino_t ino;
};

/* Of those who listen, in their tables of attributes: what vdpa_unix_listen() looks for. */
#define VDPA_UNIX_ATTR_SPECS                                                                       \
	{.name = "socket_mode",                                                                    \
	 .type = VDPA_ATTR_STRING,                                                                 \
	 .help = "permissions of the socket file, octal"},                                         \
	{                                                                                          \
		.name = "socket_owner", .type = VDPA_ATTR_STRING,                                  \
		.help = "owner of the socket file, USER, USER:GROUP or :GROUP"                     \
	}

/* 0, or -ENAMETOOLONG with @err. */
int vdpa_unix_address(const char *path, struct sockaddr_un *addr, struct vdpa_error *err);
/* Of @type (SOCK_STREAM, ...), not blocking, close-on-exec. fd or -errno. */
int vdpa_unix_socket(int type);
/*
 * Listen at @path (SOCK_DGRAM: be there). @attrs (may be NULL): socket_mode (octal) and
 * socket_owner (USER, USER:GROUP, :GROUP). 0; -EADDRINUSE: somebody listens there, or it is no
 * socket; and others, all with @err. On an error *@u is as after vdpa_unix_close().
 */
int vdpa_unix_listen(struct vdpa_unix *u, const char *path, int type, const struct vdpa_attr *attrs,
		     struct vdpa_error *err);
/* Close, and remove the file. No-op on {.fd = -1}. */
void vdpa_unix_close(struct vdpa_unix *u);

#endif
