// SPDX-License-Identifier: BSD-3-Clause
/*
 * A process that is not trusted with the driver's memory: it gets a file of bounce pages, and
 * nothing else. The driver's queues end here (the software-device kit's); each request is copied
 * into the file when it is mapped, for the process, which sees a ring of its own, and out of it
 * when it is unmapped: what the device reads in, what it says it wrote out. Nothing that the
 * transfer does not cover is copied, and what was unmapped is wiped.
 *
 * So requests are known here while they are out. A process that dies, or is started anew because a
 * queue starts or stops, loses none: its rings are made anew, and what was out is in them again.
 *
 * The file is cut into one part per queue: ring first, then chunks. All queues are served on the
 * control thread, which is the engine's: isolation costs speed.
 *
 * Who attacks: the process, which writes anywhere in the file, at any time. Nothing that matters is
 * kept there; its ring is checked (ring/virtqueue_split.c), and where it lies the device breaks.
 */
#include "parent/vduse/vduse.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <uvdpa/soft.h>
#include <uvdpa/virtqueue.h>

#define CHUNK_BYTES 4096ull
/* The least that a queue has for its requests. */
#define ARENA_MIN (64ull << 10)
#define RING_FEATURES VDPA_BIT(VIRTIO_F_VERSION_1)
/* Bits of the ring and of the transport are the kit's towards the driver, and ours towards the
 * process (virtio 1.3, section 6). */
#define DEVICE_BITS (~(((1ull << 50) - 1) & ~((1ull << 24) - 1)))
#define STARTED                                                                                    \
	(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK |      \
	 VIRTIO_CONFIG_S_DRIVER_OK)

struct bounce_queue {
	struct bounce *b;
	struct vdpa_soft_vq *vq; /* while it runs; NULL: it does not */
	uint16_t idx;
	struct virtqueue *ring; /* the process's; NULL: it has none yet */
	uint32_t num;
	uint8_t *base; /* of this queue's part of the file */
	iova_t iova;
	uint64_t ring_bytes;
	uint8_t *used; /* per chunk */
	uint32_t chunks, next;
	struct list out; /* struct bounce_request, in the order of the driver's ring */
	uint64_t seq;	 /* of the next one */
	bool full;	 /* one waits until there is room */
};

/* In a chain's private area. */
struct bounce_request {
	struct list node;
	struct vringh_chain *chain; /* NULL: it is the driver's again */
	uint32_t chunk, nchunks;
	uint64_t seq;
};

struct bounce {
	struct vdpa_soft soft;
	struct vdu_dev *d;
	struct vdpa_region *region;
	uint64_t size;
	struct bounce_queue *q;
	uint64_t copies, bytes_in, bytes_out;
};

static struct bounce *bounce_of(struct vdpa_soft *soft)
{
	return (struct bounce *)(void *)soft;
}

static struct bounce_queue *queue_of(struct vdpa_soft_vq *vq)
{
	return &bounce_of(vdpa_soft_vq_dev(vq))->q[vdpa_soft_vq_index(vq)];
}

/* ---- room in the file ---- */

static uint8_t *room(const struct bounce_queue *q, const struct bounce_request *r)
{
	return q->base + q->ring_bytes + r->chunk * CHUNK_BYTES;
}

/* First fit, from where the last one ended. */
static bool take_room(struct bounce_queue *q, struct bounce_request *r, uint64_t bytes)
{
	uint32_t want = (uint32_t)((bytes + CHUNK_BYTES - 1) / CHUNK_BYTES), run = 0;

	for (uint32_t seen = 0, i = q->next; seen < q->chunks + want; seen++, i++) {
		if (i == q->chunks)
			i = run = 0;
		run = q->used[i] ? 0 : run + 1;
		if (run < want)
			continue;
		r->chunk = i + 1 - want;
		r->nchunks = want;
		memset(q->used + r->chunk, 1, want);
		q->next = i + 1 == q->chunks ? 0 : i + 1;
		return true;
	}
	return false;
}

/* Unmapped: the process finds nothing there any more. */
static void give_room(struct bounce_queue *q, struct bounce_request *r)
{
	memset(room(q, r), 0, r->chain->out_len + r->chain->in_len);
	memset(q->used + r->chunk, 0, r->nchunks);
	list_del(&r->node);
}

/* ---- requests ---- */

static void broken(struct bounce *b, const char *why)
{
	vdpa_soft_broken(&b->soft, why);
}

/* Into the process's ring: one piece to read, one to write, without a gap. */
static int add(struct bounce_queue *q, struct bounce_request *r)
{
	iova_t at = q->iova + (uint64_t)(room(q, r) - q->base);
	struct virtqueue_sg sg[2];
	unsigned nout = r->chain->out_len > 0, nin = r->chain->in_len > 0;

	sg[0] = (struct virtqueue_sg){at, (uint32_t)r->chain->out_len};
	sg[nout] = (struct virtqueue_sg){at + r->chain->out_len, (uint32_t)r->chain->in_len};
	return virtqueue_add(q->ring, sg, nout, nin, r);
}

/* All of it, or the process does not get it. */
static bool copy_in(struct bounce_queue *q, struct bounce_request *r)
{
	struct vringh_chain *chain = r->chain;
	size_t n = vringh_iov_pull(chain, 0, room(q, r), chain->out_len);

	q->b->copies++;
	q->b->bytes_in += n;
	return n == chain->out_len;
}

static void complete(struct bounce_queue *q, struct bounce_request *r, uint32_t len)
{
	struct vringh_chain *chain = r->chain;

	if (len) {
		vdpa_soft_push(q->vq, chain, 0, room(q, r) + chain->out_len, len);
		q->b->copies++;
		q->b->bytes_out += len;
	}
	give_room(q, r);
	vdpa_soft_complete(q->vq, chain, len);
}

/* What the process has done. */
static void harvest(struct bounce_queue *q)
{
	struct bounce_request *r;
	bool any = false;
	uint32_t len;

	while (q->ring && q->vq && (r = virtqueue_get(q->ring, &len))) {
		if (!r->chain)
			continue;
		complete(q, r, len);
		any = true;
	}
	if (q->ring && virtqueue_broken(q->ring))
		broken(q->b, "its process breaks the rules of the ring");
	if (!any)
		return;
	vdpa_soft_flush(q->vq);
	if (q->vq && q->full)
		vdpa_soft_vq_wake(q->vq);
}

static void on_call(void *priv)
{
	harvest(priv);
}

/* One request on; false: there is none, or no room. */
static bool forward(struct bounce_queue *q)
{
	struct vringh_chain *chain;
	struct bounce_request *r;
	uint64_t bytes;

	q->full = virtqueue_num_free(q->ring) < 2;
	if (q->full || !vdpa_soft_getdesc(q->vq, &chain, 1))
		return false;
	r = chain->priv;
	r->chain = chain;
	bytes = chain->out_len + chain->in_len;
	if (bytes > q->chunks * CHUNK_BYTES || !take_room(q, r, bytes)) {
		vdpa_soft_abandon(q->vq, 1);
		q->full = true;
		if (bytes > q->chunks * CHUNK_BYTES)
			broken(q->b, "a request does not fit into the bounce pages of its queue: "
				     "add the device with a larger bounce_size");
		return false;
	}
	list_add_tail(&q->out, &r->node);
	if (!copy_in(q, r)) {
		give_room(q, r);
		vdpa_soft_abandon(q->vq, 1);
		q->full = true;
		broken(q->b, "a request cannot be read from the driver's memory");
		return false;
	}
	r->seq = q->seq++;
	if (add(q, r))
		broken(q->b, "a request does not fit into the process's ring");
	return true;
}

static bool op_run(struct vdpa_soft *soft, struct vdpa_soft_vq *vq, unsigned budget)
{
	struct bounce_queue *q = queue_of(vq);
	unsigned n = 0;

	harvest(q);
	if (!q->vq || !q->ring || virtqueue_broken(q->ring))
		return false;
	while (n < budget && forward(q))
		n++;
	if (n && virtqueue_publish(q->ring))
		vdu_kick(&q->b->d->vq[q->idx]);
	return n == budget;
}

/* ---- queues start and stop ---- */

static int op_start(struct vdpa_soft *soft, struct vdpa_soft_vq *vq)
{
	struct bounce_queue *q = queue_of(vq);

	q->vq = vq;
	q->seq = 0;
	atomic_store(&q->b->d->vq[q->idx].ready, true);
	vdu_engine_run(q->b->d);
	return 0;
}

/* The process has it until it is started anew, and what it says of it until then is not heard. */
static struct vringh_chain *take_back(struct bounce_queue *q, struct bounce_request *r)
{
	struct vringh_chain *chain = r->chain;

	give_room(q, r);
	r->chain = NULL;
	return chain;
}

/*
 * Buffers to be filled may wait for ever: they go back to the driver's ring, where they were the
 * last to come from.
 */
static void give_back(struct bounce_queue *q)
{
	struct list *node;

	while ((node = list_first(&q->out))) {
		struct bounce_request *r = list_entry(q->out.prev, struct bounce_request, node);

		if (r->chain->out_len || r->seq + 1 != q->seq)
			return;
		q->seq--;
		take_back(q, r);
		vdpa_soft_abandon(q->vq, 1);
	}
}

static void op_stop(struct vdpa_soft *soft, struct vdpa_soft_vq *vq)
{
	struct bounce_queue *q = queue_of(vq);
	struct list *node;

	harvest(q);
	if (!vdpa_soft_vq_cancelling(vq)) {
		give_back(q);
		return;
	}
	while ((node = list_first(&q->out))) {
		struct bounce_request *r = list_entry(node, struct bounce_request, node);

		vdpa_soft_cancel(vq, take_back(q, r));
	}
}

static void op_stopped(struct vdpa_soft *soft, struct vdpa_soft_vq *vq)
{
	struct bounce_queue *q = queue_of(vq);

	q->vq = NULL;
	virtqueue_free(q->ring);
	q->ring = NULL;
	atomic_store(&q->b->d->vq[q->idx].ready, false);
	vdu_engine_run(q->b->d);
}

static void op_driver_ok(struct vdpa_soft *soft)
{
	struct bounce *b = bounce_of(soft);
	struct vdu_dev *d = b->d;
	uint64_t features = vdpa_soft_features(soft) & DEVICE_BITS;

	if (d->broken) {
		broken(b, "it has no process");
		return;
	}
	atomic_store(&d->driver_features, features | ((VDPA_BIT(VIRTIO_F_VERSION_1) |
						       VDPA_BIT(VIRTIO_F_ACCESS_PLATFORM)) &
						      d->features));
	atomic_store(&d->status, STARTED);
	vdu_engine_run(d);
}

/* Of Linux's design the process has no message for it. */
static void op_config_write(struct vdpa_soft *soft, unsigned offset, const void *buf, unsigned len)
{
	struct vdu_dev *d = bounce_of(soft)->d;

	if (d->profile != &vdu_rfc3)
		return;
	vdpa_soft_config_store(soft, offset, buf, len);
	memcpy(d->config + offset, buf, len);
	vdu_rfc3_set_config(d, offset, len);
}

static void op_reset(struct vdpa_soft *soft)
{
	struct vdu_dev *d = bounce_of(soft)->d;

	vdpa_loop_timer_cancel(&d->start_timer);
	d->start_now = false;
	atomic_store(&d->status, 0);
	vdu_engine_run(d);
}

/* ---- the engine's ---- */

/* The process has stopped, and is to start: it gets a new ring, with what was out. */
static int renew(struct bounce_queue *q)
{
	struct vdu_vq *vq = &q->b->d->vq[q->idx];
	struct virtqueue_config config = {.size = sizeof(config),
					  .num = q->num,
					  .features = RING_FEATURES,
					  .mem = q->base,
					  .mem_iova = q->iova};
	struct bounce_request *r;
	int ret;

	harvest(q);
	virtqueue_free(q->ring);
	q->ring = NULL;
	memset(q->base, 0, q->ring_bytes);
	ret = virtqueue_new(&config, &q->ring);
	if (ret)
		return ret;
	virtqueue_addrs(q->ring, &vq->desc, &vq->driver, &vq->device);
	vq->num = q->num;
	vq->state = virtqueue_first_state(q->ring);
	list_for_each_entry (r, &q->out, node) {
		ret = add(q, r);
		if (ret)
			return ret;
	}
	virtqueue_publish(q->ring);
	return 0;
}

static void user_prepare(struct vdu_dev *d)
{
	struct bounce *b = bounce_of(vdpa_to_soft(d->vdev));

	for (uint32_t i = 0; i < d->nvqs; i++) {
		if (b->q[i].vq && renew(&b->q[i]))
			broken(b, "no memory for the rings of its process");
	}
}

static void user_started(struct vdu_dev *d)
{
	struct bounce *b = bounce_of(vdpa_to_soft(d->vdev));

	for (uint32_t i = 0; i < d->nvqs; i++) {
		if (b->q[i].vq)
			vdpa_soft_vq_wake(b->q[i].vq);
	}
}

static void user_broke(struct vdu_dev *d, const char *why)
{
	broken(bounce_of(vdpa_to_soft(d->vdev)), why);
}

static const struct vdu_user user = {
	.prepare = user_prepare,
	.started = user_started,
	.broke = user_broke,
};

static void on_config(void *priv)
{
	struct bounce *b = priv;

	vdpa_soft_config_set(&b->soft, 0, b->d->config, b->d->config_bytes);
}

/* ---- birth and end ---- */

static bool op_vq_control(struct vdpa_soft *soft, uint16_t idx)
{
	return true;
}

static void op_show(struct vdpa_soft *soft, vdpa_emit_fn emit, void *arg)
{
	struct bounce *b = bounce_of(soft);

	vdu_show(b->d, "bounce", emit, arg);
	vdu_show_number(emit, arg, "bounce_size", b->size);
	vdu_show_number(emit, arg, "bounce_copies", b->copies);
	vdu_show_number(emit, arg, "bounce_bytes_in", b->bytes_in);
	vdu_show_number(emit, arg, "bounce_bytes_out", b->bytes_out);
}

static void op_vq_stats(struct vdpa_soft *soft, struct vdpa_soft_vq *vq, vdpa_stat_fn emit,
			void *arg)
{
	struct bounce_queue *q = queue_of(vq);

	emit(arg, "process_kicks", atomic_load(&q->b->d->vq[q->idx].kicks));
	emit(arg, "process_calls", q->b->d->vq[q->idx].calls);
}

static void op_free(struct vdpa_soft *soft)
{
	struct bounce *b = bounce_of(soft);

	if (!b->d)
		return;
	for (uint32_t i = 0; b->q && i < b->d->nvqs; i++) {
		virtqueue_free(b->q[i].ring);
		free(b->q[i].used);
		b->d->vq[i].cb = (struct vdpa_callback){.trigger = -1};
		atomic_store(&b->d->vq[i].ready, false);
	}
	free(b->q);
	vdu_map_clear(b->d);
	vdpa_region_put(b->region);
	b->d->config_cb = (struct vdpa_callback){.trigger = -1};
	atomic_store(&b->d->status, 0);
	b->d->user = NULL;
	b->d->vdev = NULL;
	vdu_engine_run(b->d);
}

static const struct vdpa_soft_ops ops = {
	.size = sizeof(ops),
	.run = op_run,
	.start = op_start,
	.stop = op_stop,
	.stopped = op_stopped,
	.driver_ok = op_driver_ok,
	.reset = op_reset,
	.config_write = op_config_write,
	.vq_stats = op_vq_stats,
	.vq_control = op_vq_control,
	.show = op_show,
	.free = op_free,
};

/* The pages: sealed, so that nobody takes them away under us. */
static int make_pages(struct bounce *b, struct vdpa_error *err)
{
	struct vhost_iotlb_map map = {.last = b->size - 1, .perm = VHOST_MAP_RW};
	int fd = memfd_create("uvdpa-bounce", MFD_CLOEXEC | MFD_ALLOW_SEALING), ret;

	if (fd < 0 || ftruncate(fd, (off_t)b->size) ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
		ret = -errno;
		vdpa_fd_close(&fd);
		return vdpa_error_set(err, -ret, NULL, "no bounce pages: %s", strerror(-ret));
	}
	ret = vdpa_region_map(fd, 0, b->size, 0, PROT_READ | PROT_WRITE, &b->region, err);
	close(fd);
	if (ret)
		return ret;
	map.addr = vdpa_region_addr(b->region, 0);
	map.opaque = b->region;
	ret = vdu_map(b->d, 0, &map);
	return ret ? vdpa_error_set(err, -ret, NULL, "no memory") : 0;
}

static int make_queue(struct bounce *b, uint32_t i, uint64_t part, struct vdpa_error *err)
{
	struct bounce_queue *q = &b->q[i];
	uint32_t max = b->d->vq[i].num_max;

	q->b = b;
	q->idx = (uint16_t)i;
	q->num = 1;
	while (q->num * 2 <= max)
		q->num *= 2;
	list_init(&q->out);
	q->iova = i * part;
	q->base = (uint8_t *)vdpa_region_base(b->region) + q->iova;
	q->ring_bytes =
		(virtqueue_mem_bytes(q->num, RING_FEATURES) + CHUNK_BYTES - 1) & ~(CHUNK_BYTES - 1);
	if (q->num < 2 || part < q->ring_bytes + ARENA_MIN)
		return vdpa_error_set(err, EINVAL, NULL,
				      "bounce_size %llu is too small for %u queues of %u",
				      (unsigned long long)b->size, b->d->nvqs, q->num);
	q->chunks = (uint32_t)((part - q->ring_bytes) / CHUNK_BYTES);
	q->used = calloc(q->chunks, 1);
	b->d->vq[i].cb = (struct vdpa_callback){.callback = on_call, .priv = q, .trigger = -1};
	return q->used ? 0 : vdpa_error_set(err, ENOMEM, NULL, "no memory");
}

static int make_queues(struct bounce *b, struct vdpa_error *err)
{
	uint64_t part = (b->size / (b->d->nvqs ? b->d->nvqs : 1)) & ~(CHUNK_BYTES - 1);
	int ret = 0;

	b->q = calloc(b->d->nvqs + 1, sizeof(*b->q));
	if (!b->q)
		return vdpa_error_set(err, ENOMEM, NULL, "no memory");
	for (uint32_t i = 0; i < b->d->nvqs && !ret; i++)
		ret = make_queue(b, i, part, err);
	return ret;
}

static uint16_t largest_ring(const struct vdu_dev *d)
{
	uint32_t max = 2;

	for (uint32_t i = 0; i < d->nvqs; i++) {
		while (max * 2 <= d->vq[i].num_max)
			max *= 2;
	}
	return (uint16_t)max;
}

int vdu_bounce_add(struct vdu_dev *d, const struct vdpa_dev_set_config *config,
		   struct vdpa_error *err)
{
	struct vdpa_soft_params params = {.size = sizeof(params),
					  .struct_size = sizeof(struct bounce),
					  .ops = &ops,
					  .name = d->name,
					  .parent = "vduse",
					  .device_id = d->device_id,
					  .vendor_id = d->vendor_id,
					  .features = d->features & DEVICE_BITS,
					  .nvqs = d->nvqs,
					  .num_max = largest_ring(d),
					  .config = d->config,
					  .config_bytes = d->config_bytes,
					  .priv_bytes = sizeof(struct bounce_request),
					  .stop_timeout_ns = d->timeout_ns};
	struct bounce *b;
	int ret;

	if (config->mask & VDPA_CFG_FEATURES) {
		params.features &= config->device_features;
		params.features_off = ~config->device_features;
	}
	b = vdpa_soft_alloc(d->ep->ctx, &params, err);
	if (!b)
		return -ENOMEM;
	b->d = d;
	b->size = vdpa_attr_size(config->attrs, "bounce_size",
				 d->bounce_bytes ? d->bounce_bytes : VDU_BOUNCE_BYTES);
	d->vdev = &b->soft.vdpa;
	d->user = &user;
	d->config_cb = (struct vdpa_callback){.callback = on_config, .priv = b, .trigger = -1};
	ret = make_pages(b, err);
	if (!ret)
		ret = make_queues(b, err);
	if (!ret)
		ret = vdpa_soft_register(&b->soft, err);
	if (ret)
		vdpa_put_device(&b->soft.vdpa);
	return ret;
}
