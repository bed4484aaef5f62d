// SPDX-License-Identifier: BSD-3-Clause
/*
 * The client's memory. With a descriptor it is mapped; without one it is reached by requests to the
 * client, cut to what it takes at once. Whoever still holds such a region when the client has gone
 * gets -EIO.
 *
 * Who attacks: the client, by ranges that wrap or overlap, by files that are shorter than it says
 * (vdpa_region_map() looks), by files of holes without end (VDPA_PEER_BYTES_MAX), and by answers
 * that are too long, too short, or do not come.
 */
#include "vfio_user/server.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <uvdpa/vhost_iotlb.h>

#include "base/fd.h"

#define TIMEOUT_NS 4000000000ull
/*
 * Of one request, however much the client says it takes: QEMU (seen with 11.1) does not write a
 * reply whole that does not fit into its socket, and lets another message of its come in between.
 */
#define CHUNK_MAX (32u << 10)

/* ---- memory by message ---- */

struct by_message {
	struct vfu_conn *conn;
	iova_t iova;
	uint32_t chunk;
	uint64_t timeout_ns;
};

static int read_chunk(struct by_message *m, iova_t addr, void *buf, size_t len)
{
	struct vfu_dma_access a = {.addr = addr, .count = len};
	struct iovec iov = {&a, sizeof(a)};
	uint8_t *reply = malloc(sizeof(a) + len);
	struct vfu_call call = {.cmd = VFU_DMA_READ,
				.iov = &iov,
				.niov = 1,
				.reply = reply,
				.reply_max = sizeof(a) + len,
				.timeout_ns = m->timeout_ns};
	int r = reply ? vfu_conn_call(m->conn, &call) : -ENOMEM;

	if (!r && call.reply_len != sizeof(a) + len)
		r = -EIO;
	if (!r)
		memcpy(buf, reply + sizeof(a), len);
	free(reply);
	return r;
}

static int write_chunk(struct by_message *m, iova_t addr, const void *buf, size_t len)
{
	struct vfu_dma_access a = {.addr = addr, .count = len};
	struct iovec iov[2] = {{&a, sizeof(a)}, {(void *)(uintptr_t)buf, len}};
	uint8_t reply[sizeof(a)];
	/* The text of the protocol says 12 bytes, clients say 16: what it was is known here. */
	struct vfu_call call = {.cmd = VFU_DMA_WRITE,
				.iov = iov,
				.niov = 2,
				.reply = reply,
				.reply_max = sizeof(reply),
				.timeout_ns = m->timeout_ns};

	return vfu_conn_call(m->conn, &call);
}

static size_t chunk_of(const struct by_message *m, size_t left)
{
	return left < m->chunk ? left : m->chunk;
}

static int dma_read(void *arg, uint64_t off, void *buf, size_t len)
{
	struct by_message *m = arg;
	int r = 0;

	for (size_t at = 0, n; at < len && !r; at += n) {
		n = chunk_of(m, len - at);
		r = read_chunk(m, m->iova + off + at, (uint8_t *)buf + at, n);
	}
	return r;
}

static int dma_write(void *arg, uint64_t off, const void *buf, size_t len)
{
	struct by_message *m = arg;
	int r = 0;

	for (size_t at = 0, n; at < len && !r; at += n) {
		n = chunk_of(m, len - at);
		r = write_chunk(m, m->iova + off + at, (const uint8_t *)buf + at, n);
	}
	return r;
}

static void dma_release(void *arg)
{
	struct by_message *m = arg;

	vfu_conn_put(m->conn);
	free(m);
}

static const struct vdpa_region_ops by_message_ops = {
	.read = dma_read,
	.write = dma_write,
	.release = dma_release,
};

static int region_by_message(struct vfio_user_server *srv, const struct vfu_dma_map *map,
			     struct vdpa_region **out)
{
	struct by_message *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return -ENOMEM;
	m->conn = vfu_conn_get(srv->conn);
	m->iova = map->addr;
	m->chunk = srv->peer_xfer < CHUNK_MAX ? srv->peer_xfer : CHUNK_MAX;
	m->timeout_ns = srv->config.dma_timeout_ns ? srv->config.dma_timeout_ns : TIMEOUT_NS;
	r = vdpa_region_by_message(&by_message_ops, m, map->size, map->addr, out);
	if (r)
		dma_release(m);
	return r;
}

/* ---- map ---- */

static int check_map(const struct vfu_dma_map *map)
{
	const uint32_t known =
		VFU_DMA_F_READ | VFU_DMA_F_WRITE | VFU_DMA_F_MMAP | VFU_DMA_F_FILE_IO;

	if (!map->size || map->addr + map->size - 1 < map->addr || map->flags & ~known ||
	    !(map->flags & (VFU_DMA_F_READ | VFU_DMA_F_WRITE)))
		return -EINVAL;
	return 0;
}

/* Pieces that overlap are equal: so what is found, or in the way, is what overlaps. */
static int compare(const void *a, const void *b)
{
	const struct vfu_map *x = a, *y = b;

	if (x->iova + x->size - 1 < y->iova)
		return -1;
	return x->iova > y->iova + y->size - 1;
}

static int keep(struct vfio_user_server *srv, struct vfu_map *m)
{
	struct vfu_map **at;

	if (srv->nmaps == VFU_DMA_MAPS_MAX)
		return -ENOSPC;
	at = tsearch(m, &srv->maps, compare);
	if (!at)
		return -ENOMEM;
	if (*at != m)
		return -EEXIST;
	atomic_store(&srv->maps_now, ++srv->nmaps);
	return 0;
}

static void forget(struct vfio_user_server *srv, struct vfu_map *m)
{
	srv->mapped_bytes -= m->mapped_bytes;
	tdelete(m, &srv->maps, compare);
	atomic_store(&srv->maps_now, --srv->nmaps);
	vdpa_region_put(m->region);
	free(m);
}

/* The device has taken it, or has not. */
static int mapped(struct vfio_user_server *srv, int result)
{
	if (result)
		forget(srv, srv->cmd.p);
	return result;
}

/* The file of a region of the device itself is no memory for the device. */
static bool is_own(const struct vfio_user_server *srv, int fd)
{
	for (unsigned i = 0; i < srv->config.nregions; i++) {
		const struct vfio_user_region *region = &srv->regions[i];

		if (region->flags & VFIO_REGION_INFO_FLAG_MMAP && vdpa_fd_same_file(region->fd, fd))
			return true;
	}
	return false;
}

static int new_region(struct vfio_user_server *srv, const struct vfu_dma_map *map, int fd,
		      struct vfu_map *m)
{
	int prot = map->flags & VFU_DMA_F_WRITE ? PROT_READ | PROT_WRITE : PROT_READ;
	int r;

	if (fd < 0 || map->flags & VFU_DMA_F_FILE_IO)
		return region_by_message(srv, map, &m->region);
	if (is_own(srv, fd))
		return -EINVAL;
	if (map->size > VDPA_PEER_BYTES_MAX - srv->mapped_bytes)
		return -ENOSPC;
	r = vdpa_region_map(fd, map->offset, map->size, map->addr, prot, &m->region, NULL);
	if (!r) {
		m->mapped_bytes = map->size;
		srv->mapped_bytes += map->size;
	}
	return r;
}

/* Kept before the device hears of it: an overlap is found here. */
static int new_map(struct vfio_user_server *srv, const struct vfu_dma_map *map, int fd,
		   struct vfu_map **out)
{
	struct vfu_map *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return -ENOMEM;
	m->iova = map->addr;
	m->size = map->size;
	r = keep(srv, m);
	if (r) {
		free(m);
		return r;
	}
	r = new_region(srv, map, fd, m);
	if (r)
		forget(srv, m);
	else
		*out = m;
	return r;
}

int vfu_dma_map(struct vfio_user_server *srv, struct vfu_msg *msg)
{
	struct vdpa_done done = vfu_device_done(srv);
	struct vfio_user_dma dma = {0};
	struct vfu_dma_map map;
	struct vfu_map *m;
	int r;

	memcpy(&map, msg->data, sizeof(map));
	r = check_map(&map);
	if (!r)
		r = new_map(srv, &map, msg->fds.n ? msg->fds.fd[0] : -1, &m);
	if (r)
		return r;
	dma.iova = m->iova;
	dma.size = m->size;
	dma.perm = (map.flags & VFU_DMA_F_READ ? VHOST_MAP_RO : 0) |
		   (map.flags & VFU_DMA_F_WRITE ? VHOST_MAP_WO : 0);
	dma.region = m->region;
	srv->cmd.p = m;
	srv->cmd.then = mapped;
	r = srv->ops->dma_map(srv->arg, &dma, &done);
	if (r)
		forget(srv, m);
	return vfu_later(r);
}

/* ---- unmap ---- */

/* Exactly this piece, or NULL. */
static struct vfu_map *find(struct vfio_user_server *srv, const struct vfu_dma_unmap *unmap)
{
	struct vfu_map key = {.iova = unmap->addr, .size = unmap->size}, **at;

	if (!key.size || key.iova + key.size - 1 < key.iova)
		return NULL;
	at = tfind(&key, &srv->maps, compare);
	return at && (*at)->iova == key.iova && (*at)->size == key.size ? *at : NULL;
}

/* Any piece, or NULL: a tree begins with a pointer to the datum of its root (tsearch(3)). */
static struct vfu_map *any(struct vfio_user_server *srv)
{
	return srv->maps ? *(struct vfu_map **)srv->maps : NULL;
}

static int unmapped(struct vfio_user_server *srv, int result)
{
	if (result)
		return result;
	forget(srv, srv->cmd.p);
	return 0;
}

static int unmap_one(struct vfio_user_server *srv, struct vfu_map *m,
		     int (*then)(struct vfio_user_server *srv, int result))
{
	struct vdpa_done done = vfu_device_done(srv);

	srv->cmd.p = m;
	srv->cmd.then = then;
	return vfu_later(srv->ops->dma_unmap(srv->arg, m->iova, m->size, &done));
}

int vfu_dma_unmap_all(struct vfio_user_server *srv, int result)
{
	/* A refusal is told to a client that asked. When it has gone none counts: what the device
	 * holds has references of its own. */
	const bool asked = srv->cmd.msg;
	struct vfu_map *m;

	for (;;) {
		if (result && asked)
			return result;
		if (srv->cmd.p)
			forget(srv, srv->cmd.p);
		srv->cmd.p = NULL;
		m = any(srv);
		if (!m)
			return 0;
		result = unmap_one(srv, m, vfu_dma_unmap_all);
		if (result == VFU_LATER)
			return result;
	}
}

int vfu_dma_unmap(struct vfio_user_server *srv, struct vfu_msg *msg)
{
	struct vfu_dma_unmap unmap;
	struct vfu_map *m;

	memcpy(&unmap, msg->data, sizeof(unmap));
	if (unmap.flags & ~VFU_DMA_UNMAP_F_ALL)
		return unmap.flags & VFU_DMA_UNMAP_F_DIRTY ? -ENOTSUP : -EINVAL;
	m = find(srv, &unmap);
	if (unmap.flags ? unmap.addr || unmap.size : !m)
		return unmap.flags ? -EINVAL : -ENOENT;
	if (!vfu_reply(srv, sizeof(unmap)))
		return -ENOMEM;
	memcpy(srv->cmd.reply, &unmap, sizeof(unmap));
	if (!unmap.flags)
		return unmap_one(srv, m, unmapped);
	srv->cmd.p = NULL;
	return vfu_dma_unmap_all(srv, 0);
}
