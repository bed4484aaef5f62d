// SPDX-License-Identifier: BSD-3-Clause
/*
 * uvdpa vfu migrate: a device's state out of it, and into another one, by the states of VFIO
 * (linux/vfio.h, enum vfio_device_mig_state). Whatever happens meanwhile, the device is told to run
 * again.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <linux/vfio.h>
#include "base/fd.h"
#include "vfio_user/protocol.h"
#include "vfu.h"

#define CHUNK (64u << 10)

static int feature(struct vfu *v, uint32_t flags, void *data, size_t len, size_t max)
{
	int n = vfio_user_feature(v->client, flags, data, len, max);

	return n < 0 ? n : n == (int)max ? 0 : -EPROTO;
}

json_t *cli_vfu_migration(struct vfu *v, int *err)
{
	uint64_t flags = 0;
	json_t *list;

	*err = feature(v, VFIO_DEVICE_FEATURE_GET | VFU_FEATURE_MIGRATION, &flags, 0,
		       sizeof(flags));
	/* Optional: a server may refuse it in any way that leaves the connection. */
	if (*err && *err != -EPROTO && *err != -EIO && *err != -ETIMEDOUT)
		*err = 0;
	if (*err || !flags)
		return NULL;
	list = json_array();
	if (flags & VFU_MIGRATION_STOP_COPY)
		json_array_append_new(list, json_string("stop_copy"));
	if (flags & VFU_MIGRATION_PRE_COPY)
		json_array_append_new(list, json_string("pre_copy"));
	return list;
}

static int set_state(struct vfu *v, enum vfio_user_mig_state to)
{
	struct vfu_mig_state s = {.state = to, .data_fd = UINT32_MAX};

	return feature(v, VFIO_DEVICE_FEATURE_SET | VFU_FEATURE_MIG_STATE, &s, sizeof(s),
		       sizeof(s));
}

int cmd_vfu_migrate_show(struct cli *cli, int argc, char **argv)
{
	static const char *const names[] = {"error",	"stop",	       "running",  "stop_copy",
					    "resuming", "running_p2p", "pre_copy", "pre_copy_p2p"};
	struct vfu_mig_state s = {0};
	json_t *can;
	int ret = cli_vfu_begin(cli, argc), err;

	(void)argv;
	if (ret)
		return ret;
	can = cli_vfu_migration(cli->vfu, &err);
	if (can)
		err = feature(cli->vfu, VFIO_DEVICE_FEATURE_GET | VFU_FEATURE_MIG_STATE, &s, 0,
			      sizeof(s));
	if (!err && s.state >= sizeof(names) / sizeof(names[0]))
		err = -EPROTO;
	if (err) {
		json_decref(can);
		return cli_vfu_failed(cli, err);
	}
	return cli_vfu_answer(
		cli,
		json_pack("{s:s?, s:o?}", "state", can ? names[s.state] : NULL, "migration", can),
		cli_vfu_print_lines);
}

static int file_failed(const char *path, const char *what)
{
	fprintf(stderr, "uvdpa: %s: %s: %s\n", path, what, strerror(errno));
	return EXIT_FAILED;
}

static int answer_bytes(struct cli *cli, uint64_t bytes)
{
	return cli_vfu_answer(cli, json_pack("{s:I}", "bytes", (json_int_t)bytes),
			      cli_vfu_print_lines);
}

static int write_all(int fd, const uint8_t *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

/* EXIT_OK, or EXIT_FAILED after a message. */
static int copy_out(struct cli *cli, const char *path, int fd, uint64_t *total)
{
	uint8_t data[CHUNK];
	ssize_t n;

	while ((n = vfio_user_mig_read(cli->vfu->client, data, sizeof(data))) > 0) {
		if (write_all(fd, data, (size_t)n))
			return file_failed(path, "the state is not there whole");
		*total += (uint64_t)n;
	}
	return n ? cli_vfu_failed(cli, (int)n) : EXIT_OK;
}

static int copy_in(struct cli *cli, const char *path, int fd, uint64_t *total)
{
	uint8_t data[CHUNK];
	ssize_t n;
	int err;

	while ((n = read(fd, data, sizeof(data))) > 0) {
		err = vfio_user_mig_write(cli->vfu->client, data, (size_t)n);
		if (err)
			return cli_vfu_failed(cli, err);
		*total += (uint64_t)n;
	}
	return n ? file_failed(path, "cannot be read") : EXIT_OK;
}

/* Stop it in state @state, copy, and let it run: only then a state that came counts. */
static int transfer(struct cli *cli, const char *path, int fd, enum vfio_user_mig_state state)
{
	uint64_t total = 0;
	int err = set_state(cli->vfu, state), ret;

	if (err)
		return cli_vfu_failed(cli, err);
	ret = state == VFIO_USER_MIG_STOP_COPY ? copy_out(cli, path, fd, &total)
					       : copy_in(cli, path, fd, &total);
	err = set_state(cli->vfu, VFIO_USER_MIG_RUNNING);
	/* The first thing that went wrong is what is told. */
	if (err && !ret)
		ret = cli_vfu_failed(cli, err);
	return ret ? ret : answer_bytes(cli, total);
}

static int with_file(struct cli *cli, const char *path, int flags, enum vfio_user_mig_state state)
{
	int ret = cli_vfu_open(cli), fd;

	if (ret)
		return ret;
	fd = open(path, flags | O_CLOEXEC, 0600);
	if (fd < 0)
		return file_failed(path, "cannot be opened");
	ret = transfer(cli, path, fd, state);
	vdpa_fd_close(&fd);
	return ret;
}

int cmd_vfu_migrate_save(struct cli *cli, int argc, char **argv)
{
	int ret = cli_args(cli, argc, 1, 1);

	return ret >= 0 ? ret
			: with_file(cli, argv[0], O_WRONLY | O_CREAT | O_TRUNC,
				    VFIO_USER_MIG_STOP_COPY);
}

int cmd_vfu_migrate_load(struct cli *cli, int argc, char **argv)
{
	int ret = cli_args(cli, argc, 1, 1);

	return ret >= 0 ? ret : with_file(cli, argv[0], O_RDONLY, VFIO_USER_MIG_RESUMING);
}
