/* SPDX-License-Identifier: BSD-3-Clause */
/* A back end in a process of its own, so that it can be killed: a software device behind
 * vhost-user. */
#ifndef TESTS_VHOST_USER_BACK_H
#define TESTS_VHOST_USER_BACK_H

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uvdpa/soft.h>
#include <uvdpa/vhost_user.h>
#include "virtio_test.h"

struct back {
	pid_t pid;
	char path[64];
	const char *driver; /* NULL: vhost-user */
};

/*
 * "hold": a disk that keeps the requests for sector 0 and answers the others; "no-hold" answers
 * all. What it holds is out of order with what it answered: only the in-flight area knows.
 */
static bool back_holds;

/* Offer also what is offered when asked for only: IN_ORDER, NOTIFICATION_DATA. */
static bool back_full_featured;

static inline bool hold_run(struct vdpa_soft *dev, struct vdpa_soft_vq *vq, unsigned budget)
{
	struct vringh_chain *chains[16];
	unsigned n = vdpa_soft_getdesc(vq, chains, 16);

	for (unsigned i = 0; i < n; i++) {
		struct virtio_blk_outhdr hdr;

		vringh_iov_pull(chains[i], 0, &hdr, sizeof(hdr));
		if (back_holds && !hdr.sector)
			continue;
		vdpa_soft_push(vq, chains[i], chains[i]->in_len - 1, "\0", 1);
		vdpa_soft_complete(vq, chains[i], (uint32_t)chains[i]->in_len);
	}
	return n == 16;
}

static inline int hold_device(struct vdpa_ctx *ctx)
{
	static const struct vdpa_soft_ops ops = {.size = sizeof(ops), .run = hold_run};
	struct virtio_blk_config config = {.capacity = 2048};
	struct vdpa_soft_params params = {
		.size = sizeof(params),
		.struct_size = sizeof(struct vdpa_soft),
		.ops = &ops,
		.name = "s0",
		.parent = "hold",
		.device_id = VIRTIO_ID_BLOCK,
		.nvqs = 1,
		.config = &config,
		.config_bytes = sizeof(config),
	};
	struct vdpa_soft *dev = vdpa_soft_alloc(ctx, &params, NULL);

	return dev ? vdpa_soft_register(dev, NULL) : -ENOMEM;
}

static inline int back_device(struct vdpa_ctx *ctx, const char *mgmtdev,
			      const struct vdpa_attr *attrs, struct vdpa_device **out)
{
	struct vdpa_dev_set_config config = {.attrs = attrs};
	struct vdpa_mgmt_dev *mdev;
	struct vdpa_error err = {0};
	int r;

	if (!vdpa_find_driver(ctx, "vhost-user"))
		vdpa_register_driver(ctx, vhost_user_driver());
	back_holds = !strcmp(mgmtdev, "hold");
	mdev = vdpa_mgmtdev_find(ctx, mgmtdev);
	if (mdev && back_full_featured) {
		config.mask = VDPA_CFG_FEATURES;
		config.device_features = mdev->supported_features;
		if (!strcmp(mgmtdev, "soft_blk"))
			config.device_features &=
				~(VDPA_BIT(VIRTIO_BLK_F_RO) | VDPA_BIT(VIRTIO_BLK_F_CONFIG_WCE));
		if (!vdpa_attr_get(attrs, "num_queues") && !strcmp(mgmtdev, "soft_blk"))
			config.device_features &= ~VDPA_BIT(VIRTIO_BLK_F_MQ);
	}
	r = mdev ? vdpa_dev_add(mdev, "s0", &config, &err) : hold_device(ctx);
	/* What the kernel still does for one that was killed holds the lock of its file. */
	for (unsigned i = 0; r == -EBUSY && i < 6000; i++) {
		usleep(10000);
		r = vdpa_dev_add(mdev, "s0", &config, &err);
	}
	if (r) {
		print_message("%s: %s\n", mgmtdev, err.msg);
		return r;
	}
	*out = vdpa_find_device(ctx, "s0");
	return 0;
}

static inline void back_log(void *arg, enum vdpa_log_level level, const char *object,
			    const char *msg)
{
	(void)arg;
	(void)level;
	if (getenv("BACK_LOG"))
		fprintf(stderr, "back end: %s: %s\n", object, msg);
}

/* The child: serves until it is killed. */
static inline void back_run(const struct back *back, const char *mgmtdev,
			    const struct vdpa_attr *attrs, unsigned workers)
{
	const char *driver = back->driver ? back->driver : "vhost-user";
	struct vdpa_attr bind[] = {{"path", back->path}, {0}};
	struct vdpa_ctx_config config = {.size = sizeof(config),
					 .workers = workers,
					 .log = {.fn = back_log, .level = VDPA_LOG_DEBUG}};
	struct vdpa_device *vdev;
	struct vdpa_ctx *ctx;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (vdpa_ctx_new(&config, &ctx) || vdpa_register_builtin(ctx) ||
	    back_device(ctx, mgmtdev, attrs, &vdev) || vdpa_bind(vdev, driver, bind, NULL))
		_exit(1);
	vdpa_loop_run(vdpa_ctx_control(ctx));
	_exit(0);
}

static inline void back_start(struct back *back, const char *mgmtdev, const struct vdpa_attr *attrs,
			      unsigned workers)
{
	if (!back->path[0])
		snprintf(back->path, sizeof(back->path), "/tmp/uvdpa-test-%d.sock", getpid());
	back->pid = fork();
	assert_true(back->pid >= 0);
	if (!back->pid)
		back_run(back, mgmtdev, attrs, workers);
}

static inline void back_kill(struct back *back)
{
	int status;

	kill(back->pid, SIGKILL);
	assert_int_equal(waitpid(back->pid, &status, 0), back->pid);
	assert_true(WIFSIGNALED(status)); /* it had not ended by itself */
	unlink(back->path);
}

/* Connects as soon as it listens. */
static inline int front_connect(struct vdpa_ctx *ctx, struct vhost_user_frontend_config *config,
				struct virtio_device **dev)
{
	struct vdpa_error err = {0};
	int r = -1;

	config->size = sizeof(*config);
	for (unsigned i = 0; i < 6000 && r; i++) {
		r = vhost_user_frontend_new(ctx, config, dev, &err);
		if (r != -ENOENT && r != -ECONNREFUSED)
			break;
		usleep(10000);
	}
	if (r)
		print_message("front end: %s\n", err.msg);
	return r;
}

static inline void front_free(struct vdpa_ctx *ctx, struct virtio_device *dev)
{
	bool done = false;

	vhost_user_frontend_free(dev, &(struct vdpa_done){set_flag, &done});
	fake_until(ctx, done);
}

#endif
