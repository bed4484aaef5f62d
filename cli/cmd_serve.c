// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <uvdpa/mem.h>
#include <uvdpa/vhost_user.h>
#include "base/list.h"
#include "cli.h"
#include "ctl/service.h"
#include "serve.h"

/* A queue that does not drain is given up after 30 s. */
#define END_TIMEOUT_NS 40000000000ll
/* What a predecessor that was killed left under way in the kernel holds the lock of its file. */
#define BUSY_TIMEOUT_NS 10000000000ull
#define BUSY_RETRY_NS 20000000ll

struct serve {
	struct serve_options opt;
	struct vdpa_ctx *ctx;
	struct vdpa_loop *loop;
	struct vdpa_loop_fd signals;
	struct vdpa_subscriber events;
	bool ending, gone;
};

static void print_log(void *arg, enum vdpa_log_level level, const char *object, const char *msg)
{
	(void)arg;
	fprintf(stderr, "<%d>%s%s%s\n", (int)level, object, *object ? ": " : "", msg);
}

static void finish(struct serve *s)
{
	s->ending = true;
	vdpa_loop_stop(s->loop);
}

static void on_signal(struct vdpa_loop_fd *lfd, uint32_t revents)
{
	struct serve *s = vdpa_container_of(lfd, struct serve, signals);
	struct signalfd_siginfo info;

	(void)revents;
	while (read(lfd->fd, &info, sizeof(info)) == sizeof(info))
		finish(s);
}

static void on_event(struct vdpa_subscriber *sub, const struct vdpa_event *event)
{
	struct serve *s = vdpa_container_of(sub, struct serve, events);

	if (event->type == VDPA_EVENT_CHANGE && !strcmp(event->detail, VHOST_USER_EVENT_FINISHED))
		finish(s);
}

/* Before any thread exists, so that all of them inherit the mask. */
static int block_signals(void)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* mac, mtu and max_vqp are the bus's, all else is the parent's and its backend's to check. */
static int split_attrs(struct serve *s, struct vdpa_dev_set_config *config, struct vdpa_attr *own,
		       struct vdpa_error *err)
{
	static const struct vdpa_attr_spec spec[] = {
		{.name = "mac", .type = VDPA_ATTR_MAC},
		{.name = "mtu", .type = VDPA_ATTR_U64, .max = UINT16_MAX},
		{.name = "max_vqp", .type = VDPA_ATTR_U64, .min = 1, .max = UINT16_MAX},
		{.name = NULL},
	};
	struct vdpa_attr common[SERVE_ATTRS_MAX + 1] = {{NULL, NULL}};
	unsigned n = 0, k = 0;
	int ret;

	for (const struct vdpa_attr *a = s->opt.dev; a->key; a++) {
		if (!strcmp(a->key, "mac") || !strcmp(a->key, "mtu") || !strcmp(a->key, "max_vqp"))
			common[n++] = *a;
		else
			own[k++] = *a;
	}
	ret = vdpa_attr_check(common, spec, s->opt.name, err);
	if (ret)
		return ret;
	if (vdpa_attr_mac(common, "mac", config->net.mac))
		config->mask |= VDPA_CFG_NET_MAC;
	if (vdpa_attr_get(common, "mtu"))
		config->mask |= VDPA_CFG_NET_MTU;
	config->net.mtu = (uint16_t)vdpa_attr_u64(common, "mtu", 0);
	if (vdpa_attr_get(common, "max_vqp"))
		config->mask |= VDPA_CFG_NET_MAX_VQP;
	config->net.max_vq_pairs = (uint16_t)vdpa_attr_u64(common, "max_vqp", 0);
	config->attrs = own;
	return 0;
}

static int add_device(struct serve *s, struct vdpa_mgmt_dev *mgmt,
		      const struct vdpa_dev_set_config *config, struct vdpa_error *err)
{
	uint64_t deadline = vdpa_clock_ns() + BUSY_TIMEOUT_NS;
	int ret = vdpa_dev_add(mgmt, s->opt.name, config, err);

	if (ret == -EBUSY)
		vdpa_log(vdpa_ctx_log(s->ctx), VDPA_LOG_WARN, s->opt.name, "waits: %s", err->msg);
	while (ret == -EBUSY && !s->ending && vdpa_clock_ns() < deadline &&
	       vdpa_loop_run_once(s->loop, BUSY_RETRY_NS) >= 0)
		ret = vdpa_dev_add(mgmt, s->opt.name, config, err);
	return ret;
}

static int make_device(struct serve *s, struct vdpa_error *err)
{
	struct vdpa_mgmt_dev *mgmt = vdpa_mgmtdev_find(s->ctx, s->opt.class->mgmtdev);
	struct vdpa_attr own[SERVE_ATTRS_MAX + 1] = {{NULL, NULL}};
	struct vdpa_dev_set_config config = {0};
	int ret;

	if (!mgmt)
		return vdpa_error_set(err, ENODEV, NULL, "this program was built without %s",
				      s->opt.class->mgmtdev);
	ret = split_attrs(s, &config, own, err);
	if (!ret)
		ret = add_device(s, mgmt, &config, err);
	if (!ret)
		ret = vdpa_bind(vdpa_find_device(s->ctx, s->opt.name), "vhost-user", s->opt.drv,
				err);
	return ret;
}

static int start(struct serve *s, int sigfd, struct vdpa_error *err)
{
	struct vdpa_ctx_config config = {
		.size = sizeof(config),
		.workers = s->opt.workers,
		.log = {.fn = print_log, .level = s->opt.level},
	};
	int ret = vdpa_sigbus_install();

	if (!ret)
		ret = vdpa_ctx_new(&config, &s->ctx);
	if (ret)
		return vdpa_error_set(err, -ret, NULL, "cannot start: %s", strerror(-ret));
	s->loop = vdpa_ctx_control(s->ctx);
	s->events.fn = on_event;
	vdpa_subscribe(s->ctx, &s->events);
	ret = vdpa_loop_fd_add(s->loop, &s->signals, sigfd, EPOLLIN, on_signal);
	if (!ret)
		ret = vdpa_register_builtin(s->ctx);
	if (ret)
		return vdpa_error_set(err, -ret, NULL, "cannot start: %s", strerror(-ret));
	return make_device(s, err);
}

static void deleted(void *arg, int result)
{
	struct serve *s = arg;

	(void)result;
	s->gone = true;
}

static int stop(struct serve *s, int sigfd)
{
	struct vdpa_device *vdev;
	int ret = 0, tries = 500;

	if (!s->ctx)
		return 0;
	vdev = vdpa_find_device(s->ctx, s->opt.name);
	if (vdev && !vdpa_dev_del(vdev, &(struct vdpa_done){deleted, s}, NULL))
		ret = vdpa_ctx_wait(s->ctx, &s->gone, END_TIMEOUT_NS);
	vdpa_unsubscribe(s->ctx, &s->events);
	vdpa_loop_fd_del(&s->signals);
	close(sigfd);
	/* The last reference to the device may be dropped by a message that is still on its way. */
	while (!ret && (ret = vdpa_ctx_free(s->ctx)) == -EBUSY && tries--)
		ret = vdpa_loop_run_once(s->loop, 10000000) < 0 ? -EIO : 0;
	if (ret)
		fprintf(stderr, "<3>uvdpa: the device does not let go: %s\n", strerror(-ret));
	return ret;
}

int cmd_serve(struct cli *cli, int argc, char **argv)
{
	struct serve s = {0};
	struct vdpa_error err = {0};
	int ret = serve_parse(&s.opt, argc, argv), sigfd;

	(void)cli;
	if (ret >= 0)
		return ret;
	sigfd = block_signals();
	ret = start(&s, sigfd, &err);
	if (ret) {
		cli_error(&err);
	} else {
		ctl_notify("READY=1");
		ctl_ready_fd(s.opt.ready_fd);
		while (!s.ending)
			vdpa_loop_run(s.loop);
		ctl_notify("STOPPING=1");
	}
	return stop(&s, sigfd) || ret ? EXIT_FAILED : EXIT_OK;
}
