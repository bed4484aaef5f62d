// SPDX-License-Identifier: BSD-3-Clause
/*
 * A client of any vhost-user disk: connects to a socket, or starts a back-end program with one end
 *of a socket pair (the conventions of vhost-user programs: --fd=N), prints what the disk is, reads
 *its first block.
 *
 *	vhost_user_client SOCKET
 *	vhost_user_client -- PROGRAM ARGUMENT...
 *	vhost_user_client -- uvdpa serve blk --blk-file=disk.img
 */
#include <linux/virtio_ids.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uvdpa/vdpa.h>
#include <uvdpa/vhost_user.h>
#include <uvdpa/virtio.h>

#define SECOND 1000000000ll

static void check(int r, const char *what, const struct vdpa_error *err)
{
	if (!r)
		return;
	fprintf(stderr, "%s: %s%s%s\n", what, strerror(-r), err && err->msg[0] ? ": " : "",
		err ? err->msg : "");
	exit(1);
}

static void on_freed(void *arg, int result)
{
	*(bool *)arg = true;
}

static void emit(void *arg, const char *key, const char *value)
{
	printf("  %-18s %s\n", key, value);
}

/* Starts the back end; returns our end of its socket. */
static int start(char **argv, pid_t *child)
{
	char option[32], *args[64];
	int pair[2], n = 0;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		check(-1, "socketpair", NULL);
	while (argv[n] && n < 62) {
		args[n] = argv[n];
		n++;
	}
	*child = fork();
	if (*child < 0)
		check(-1, "fork", NULL);
	if (!*child) {
		snprintf(option, sizeof(option), "--fd=%d", dup(pair[1]));
		args[n++] = option;
		args[n] = NULL;
		execvp(args[0], args);
		_exit(127);
	}
	close(pair[1]);
	return pair[0];
}

static void use(struct virtio_device *dev)
{
	struct virtio_blk *blk = virtio_blk_of(dev);
	unsigned char block[512];
	char id[21];

	virtio_show(dev, emit, NULL);
	if (!virtio_blk_get_id(blk, id))
		printf("  %-18s %s\n", "id", id);
	check(virtio_blk_read(blk, 0, block, sizeof(block)), "read", NULL);
	printf("  first bytes       ");
	for (unsigned i = 0; i < 16; i++)
		printf(" %02x", block[i]);
	printf("\n");
}

int main(int argc, char **argv)
{
	struct vhost_user_frontend_config config = {.size = sizeof(config),
						    .device_id = VIRTIO_ID_BLOCK};
	struct vdpa_error err = {0};
	struct virtio_device *dev;
	struct vdpa_ctx *ctx;
	pid_t child = 0;
	bool freed = false;
	int status = 0;

	if (argc < 2 || (!strcmp(argv[1], "--") && argc < 3)) {
		fprintf(stderr, "usage: %s SOCKET | -- PROGRAM ARGUMENT...\n", argv[0]);
		return 1;
	}
	if (strcmp(argv[1], "--"))
		config.path = argv[1];
	else
		config.fd = start(argv + 2, &child);
	check(vdpa_ctx_new(NULL, &ctx), "context", NULL);
	check(vhost_user_frontend_new(ctx, &config, &dev, &err), "connect", &err);
	use(dev);
	vhost_user_frontend_free(dev, &(struct vdpa_done){on_freed, &freed});
	check(vdpa_ctx_wait(ctx, &freed, 30 * SECOND), "disconnect", NULL);
	check(vdpa_ctx_free(ctx), "free", NULL);
	if (child) {
		kill(child, SIGTERM);
		waitpid(child, &status, 0);
	}
	return status ? 1 : 0;
}
