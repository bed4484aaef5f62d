// SPDX-License-Identifier: BSD-3-Clause
/*
 * A NIC and its driver in one process, in poll mode: no interrupts, no callbacks of the device;
 * this thread sends, polls, and checks what the loopback backend returns.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uvdpa/vdpa.h>
#include <uvdpa/virtio.h>

#define SECOND 1000000000ll
#define FRAMES 10000u
#define FRAME_BYTES 1400u

struct counter {
	unsigned received, wrong;
};

static void check(int r, const char *what, const struct vdpa_error *err)
{
	if (!r)
		return;
	fprintf(stderr, "%s: %s%s%s\n", what, strerror(-r), err && err->msg[0] ? ": " : "",
		err ? err->msg : "");
	exit(1);
}

static void on_gone(void *arg, int result)
{
	*(bool *)arg = true;
}

/* Each frame carries its number; the device can still write into it: copied first. */
static void on_packet(void *arg, unsigned pair, const struct virtio_net_packet *pkt)
{
	struct counter *c = arg;
	unsigned char head[18];
	unsigned number;

	if (pkt->len != FRAME_BYTES || pkt->iov[0].iov_len < sizeof(head)) {
		c->wrong++;
		return;
	}
	memcpy(head, pkt->iov[0].iov_base, sizeof(head));
	memcpy(&number, head + 14, sizeof(number));
	c->wrong += number != c->received;
	c->received++;
}

static void loop(struct virtio_net *net, struct vdpa_loop *control, struct counter *c)
{
	uint64_t start = vdpa_clock_ns(), end = start + 60 * SECOND;
	unsigned char frame[FRAME_BYTES] = {0};
	struct iovec iov = {frame, sizeof(frame)};
	struct virtio_net_info info;
	unsigned sent = 0;

	virtio_net_get_info(net, &info);
	memcpy(frame, info.mac, 6); /* to ourselves */
	while (c->received < FRAMES && vdpa_clock_ns() < end) {
		memcpy(frame + 14, &sent, sizeof(sent));
		/* At most 64 on the way, so that receive buffers do not run out. */
		if (sent < FRAMES && sent - c->received < 64 &&
		    !virtio_net_send(net, 0, &iov, 1, NULL))
			sent++;
		else
			virtio_net_kick(net, 0);
		virtio_net_poll(net, 0, 64);
		/* The device is on this thread's loop as well. */
		vdpa_loop_run_once(control, 0);
	}
	printf("%u of %u frames came back in order, %u wrong: %.0f per second\n", c->received,
	       FRAMES, c->wrong, c->received * 1e9 / (double)(vdpa_clock_ns() - start));
	check(c->received == FRAMES && !c->wrong ? 0 : -5, "frames", NULL);
}

int main(void)
{
	struct vdpa_attr attrs[] = {{"backend", "loopback"}, {0}};
	struct vdpa_attr poll[] = {{"mode", "poll"}, {0}};
	struct vdpa_dev_set_config config = {.attrs = attrs};
	struct vdpa_error err = {0};
	struct counter counter = {0};
	struct virtio_device *dev;
	struct vdpa_device *nic;
	struct vdpa_ctx *ctx;
	bool unbound = false, deleted = false;

	check(vdpa_ctx_new(NULL, &ctx), "context", NULL);
	check(vdpa_register_builtin(ctx), "built-in drivers", NULL);
	check(vdpa_dev_add(vdpa_mgmtdev_find(ctx, "soft_net"), "n0", &config, &err), "add", &err);
	nic = vdpa_find_device(ctx, "n0");
	check(vdpa_bind(nic, "virtio-vdpa", poll, &err), "bind", &err);
	dev = virtio_vdpa_device(nic);
	virtio_net_on_receive(virtio_net_of(dev), on_packet, &counter);
	loop(virtio_net_of(dev), vdpa_ctx_control(ctx), &counter);

	check(vdpa_unbind(nic, &(struct vdpa_done){on_gone, &unbound}), "unbind", NULL);
	check(vdpa_ctx_wait(ctx, &unbound, 10 * SECOND), "unbind", NULL);
	check(vdpa_dev_del(nic, &(struct vdpa_done){on_gone, &deleted}, &err), "delete", &err);
	check(vdpa_ctx_wait(ctx, &deleted, 10 * SECOND), "delete", NULL);
	check(vdpa_ctx_free(ctx), "free", NULL);
	return 0;
}
