/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The daemon's socket in the file system. A lock file beside it ("PATH.lock") decides who serves
 * the path: who has the lock may remove a socket that a dead daemon left; who has it not never
 * touches the socket.
 */
#ifndef CTL_LISTEN_H
#define CTL_LISTEN_H

#include <sys/types.h>
#include <uvdpa/types.h>

struct ctl_listen {
	int fd;	    /* listening, non-blocking; -1: none */
	int lock;   /* -1: none */
	char *path; /* to be removed at the end; NULL: not ours */
};

struct ctl_listen_params {
	const char *path;
	mode_t mode;
	uid_t uid; /* (uid_t)-1: leave */
	gid_t gid; /* (gid_t)-1: leave */
};

#define CTL_LISTEN_INIT                                                                            \
	{                                                                                          \
		.fd = -1, .lock = -1                                                               \
	}

/** 0, -EADDRINUSE (served already), or -errno; @err filled. */
int ctl_listen_open(struct ctl_listen *l, const struct ctl_listen_params *params,
		    struct vdpa_error *err);
/** Close, remove socket and lock. */
void ctl_listen_close(struct ctl_listen *l);

/**
 * Where daemon and command meet when nobody says otherwise: /run/uvdpa/ctl.sock for root,
 * $XDG_RUNTIME_DIR/uvdpa/ctl.sock for others; $UVDPA_SOCKET before both. 0 or -errno with @err.
 */
int ctl_default_path(char *buf, size_t size, struct vdpa_error *err);
/** Make the directory of the default path, if it is missing. 0 or -errno with @err. */
int ctl_default_dir(const char *path, struct vdpa_error *err);

/** Who is at the other end of a connected socket. 0 or -errno. */
int ctl_peer(int fd, pid_t *pid, uid_t *uid, gid_t *gid);
/** Is the peer in group @gid, as its primary or a supplementary one? */
bool ctl_peer_in_group(int fd, gid_t gid);

#endif
