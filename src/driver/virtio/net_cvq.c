// SPDX-License-Identifier: BSD-3-Clause
/*
 * virtio-net, the control queue: virtio 1.3, section 5.1.6.5. One command at a time, in memory of
 * its own, with a deadline. The device is hostile: its answer is copied once, and what it says of
 * the length is compared with what it was given.
 */
#include <errno.h>
#include <string.h>
#include "driver/virtio/net.h"

#define TIMEOUT_NS 10000000000ull
#define HEADER_BYTES 2u
#define ACK_BYTES 1u

static void ended(struct virtio_net *net, int ret, const uint8_t *result, size_t bytes)
{
	struct virtio_net_cvq *cvq = &net->cvq;
	struct virtio_net_command cmd = cvq->cmd;

	vdpa_loop_timer_cancel(&cvq->timer);
	cvq->busy = false;
	if (cmd.done)
		cmd.done(cmd.arg, ret, result, bytes);
}

static void send_ack(struct virtio_net *net)
{
	const struct virtio_net_command ack = {
		.class_ = VIRTIO_NET_CTRL_ANNOUNCE,
		.command = VIRTIO_NET_CTRL_ANNOUNCE_ACK,
	};

	net->cvq.ack_wanted = virtio_net_command(net, &ack) == -EBUSY;
}

static void used(struct virtio_vq *vq)
{
	struct virtio_net *net = vq->dev->priv;
	struct virtio_net_cvq *cvq = &net->cvq;
	uint32_t len;
	uint8_t ack;

	virtqueue_disable_cb(vq->ring);
	/* Also when nothing was asked: such an answer would be found again and again. */
	if (virtqueue_get(vq->ring, &len)) {
		/* Read once. */
		ack = *(volatile uint8_t *)cvq->in;
		if (!len || len > ACK_BYTES + cvq->cmd.room)
			virtio_device_broken(net->dev, "an answer that cannot be (control)");
		else if (ack == VIRTIO_NET_OK)
			ended(net, 0, cvq->in + ACK_BYTES, len - ACK_BYTES);
		else
			ended(net, -EREMOTEIO, NULL, 0);
	}
	if (virtqueue_broken(vq->ring))
		virtio_device_broken(net->dev, "a used entry that cannot be (control)");
	else if (virtqueue_enable_cb(vq->ring))
		virtio_vq_again(vq);
	if (cvq->ack_wanted)
		send_ack(net);
}

static void timed_out(struct vdpa_loop_timer *timer)
{
	struct virtio_net *net = vdpa_container_of(timer, struct virtio_net, cvq.timer);

	virtio_device_broken(net->dev, "a command was not answered in time");
}

int virtio_net_command(struct virtio_net *net, const struct virtio_net_command *cmd)
{
	struct virtio_net_cvq *cvq = &net->cvq;
	struct virtqueue_sg sg[2];
	int r;

	if (!cvq->vq)
		return -EOPNOTSUPP;
	if (cmd->len > VIRTIO_NET_COMMAND_BYTES || cmd->room > VIRTIO_NET_COMMAND_BYTES)
		return -EINVAL;
	if (net->dev->state != VIRTIO_ATTACHED || atomic_load(&net->pairs[0].state) != NET_RUNNING)
		return -EIO;
	if (cvq->busy)
		return -EBUSY;
	cvq->out[0] = cmd->class_;
	cvq->out[1] = cmd->command;
	if (cmd->len)
		memcpy(cvq->out + HEADER_BYTES, cmd->data, cmd->len);
	memset(cvq->in, 0, ACK_BYTES + cmd->room);
	cvq->in[0] = VIRTIO_NET_ERR;
	sg[0] = (struct virtqueue_sg){cvq->out_iova, (uint32_t)(HEADER_BYTES + cmd->len)};
	sg[1] = (struct virtqueue_sg){cvq->in_iova, (uint32_t)(ACK_BYTES + cmd->room)};
	r = virtqueue_add(cvq->vq->ring, sg, 1, 1, cvq);
	if (r)
		return -EIO;
	cvq->cmd = *cmd;
	cvq->busy = true;
	vdpa_loop_timer_set(vdpa_ctx_control(net->dev->ctx), &cvq->timer,
			    vdpa_clock_ns() + TIMEOUT_NS, timed_out);
	virtio_vq_kick(cvq->vq);
	return 0;
}

/* ---- life ---- */

int net_cvq_init(struct virtio_net *net, struct vdpa_error *err)
{
	struct virtio_net_cvq *cvq = &net->cvq;
	struct virtio_vq_params params = {
		.index = (uint16_t)(2 * net->max_pairs),
		.num = net->dev->opts.queue_size,
		.callback = used,
	};
	int r;

	if (!virtio_has_feature(net->dev, VIRTIO_NET_F_CTRL_VQ))
		return 0;
	r = virtio_setup_vq(net->dev, &params, &cvq->vq, err);
	if (r)
		return r;
	cvq->out =
		virtio_mem_alloc(net->dev, HEADER_BYTES + VIRTIO_NET_COMMAND_BYTES, &cvq->out_iova);
	cvq->in = virtio_mem_alloc(net->dev, ACK_BYTES + VIRTIO_NET_COMMAND_BYTES, &cvq->in_iova);
	if (!cvq->out || !cvq->in)
		return vdpa_error_set(err, ENOMEM, net->dev->name, "no memory for commands");
	return 0;
}

void net_cvq_end(struct virtio_net *net)
{
	if (net && net->cvq.busy)
		ended(net, -EIO, NULL, 0);
}

void net_cvq_free(struct virtio_net *net)
{
	vdpa_loop_timer_cancel(&net->cvq.timer);
	virtio_mem_free(net->dev, net->cvq.out);
	virtio_mem_free(net->dev, net->cvq.in);
}

static void pairs_set(void *arg, int ret, const void *result, size_t bytes)
{
	struct virtio_net *net = arg;

	if (ret)
		virtio_log(net->dev, VDPA_LOG_WARN, "the device does not use %u pairs of queues",
			   net->info.pairs);
}

/* 5.1.6.5.6.1: all pairs are set up by now. */
void net_cvq_ready(struct virtio_net *net)
{
	uint8_t pairs[2] = {(uint8_t)net->info.pairs, (uint8_t)(net->info.pairs >> 8)};
	struct virtio_net_command cmd = {
		.class_ = VIRTIO_NET_CTRL_MQ,
		.command = VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET,
		.data = pairs,
		.len = sizeof(pairs),
		.done = pairs_set,
		.arg = net,
	};

	if (net->info.pairs > 1)
		virtio_net_command(net, &cmd);
}

/* A reverse ARP request, as hypervisors send it for their guests: it tells switches the address. */
static void announce_frame(const uint8_t mac[6], uint8_t frame[60])
{
	static const uint8_t rarp[] = {0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3};

	memset(frame, 0, 60);
	memset(frame, 0xff, 6);
	memcpy(frame + 6, mac, 6);
	memcpy(frame + 12, rarp, sizeof(rarp));
	memcpy(frame + 22, mac, 6);
	memcpy(frame + 32, mac, 6);
}

void net_cvq_announce(struct virtio_net *net)
{
	uint8_t frame[60];
	struct iovec iov = {frame, sizeof(frame)};

	if (!virtio_has_feature(net->dev, VIRTIO_NET_F_GUEST_ANNOUNCE))
		return;
	announce_frame(net->info.mac, frame);
	/* In poll mode the pair is another thread's. */
	if (!net->dev->opts.poll && !virtio_net_send(net, 0, &iov, 1, NULL))
		virtio_net_kick(net, 0);
	send_ack(net);
}
