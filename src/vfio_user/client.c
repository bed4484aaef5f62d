// SPDX-License-Identifier: BSD-3-Clause
/*
 * The client's end: connecting, the version, memory, and the server's requests for it.
 *
 * Who attacks: the server, by answers that are too long or say what cannot be, by descriptors that
 * nobody asked for, and by requests for memory that it was not given.
 */
#include "vfio_user/client.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uvdpa/vhost_iotlb.h>

#include "base/unix.h"

/* ---- the server's requests ---- */

/* [@addr, @addr + @count) of memory by message, of which @perm is allowed; NULL: there is none. */
static uint8_t *memory_at(struct vfio_user_client *c, uint64_t addr, uint64_t count, uint32_t perm)
{
	struct vfu_client_mem *m;

	list_for_each_entry (m, &c->mems, link) {
		uint64_t off = addr - m->mem.iova;

		if (addr >= m->mem.iova && off < m->mem.size && count <= m->mem.size - off &&
		    m->mem.perm & perm)
			return m->mem.mem ? (uint8_t *)m->mem.mem + off : NULL;
	}
	return NULL;
}

static int serve_dma(struct vfio_user_client *c, const struct vfu_msg *msg, struct iovec *data)
{
	bool write = msg->head.cmd == VFU_DMA_WRITE;
	struct vfu_dma_access a;
	uint8_t *mem;

	if (!write && msg->head.cmd != VFU_DMA_READ)
		return -ENOTSUP;
	if (msg->len < sizeof(a))
		return -EINVAL;
	memcpy(&a, msg->data, sizeof(a));
	if (!a.count || a.count > VFU_XFER_MAX || msg->fds.n ||
	    msg->len != sizeof(a) + (write ? a.count : 0))
		return -EINVAL;
	mem = memory_at(c, a.addr, a.count, write ? VHOST_MAP_WO : VHOST_MAP_RO);
	if (!mem)
		return -EFAULT;
	if (write)
		memcpy(mem, msg->data + sizeof(a), a.count);
	else
		*data = (struct iovec){mem, a.count};
	return 0;
}

static void command(void *arg, struct vfu_msg *msg)
{
	struct vfio_user_client *c = arg;
	struct iovec iov[2] = {{msg->data, sizeof(struct vfu_dma_access)}, {NULL, 0}};
	int r = serve_dma(c, msg, &iov[1]);
	struct vfu_out out = {.head = msg->head, .iov = iov, .niov = r ? 0 : 2};

	out.head.flags = VFU_F_REPLY | (r ? VFU_F_ERROR : 0);
	out.head.error = (uint32_t)-r;
	if (!(msg->head.flags & VFU_F_NO_REPLY))
		vfu_conn_send(c->conn, &out);
	vfu_conn_next(c->conn);
}

static void closed(void *arg, int why)
{
	(void)arg;
	(void)why;
}

static const struct vfu_conn_ops client_conn_ops = {
	.command = command,
	.closed = closed,
};

int vfio_user_client_serve(struct vfio_user_client *c, uint64_t timeout_ns)
{
	int r;

	do {
		r = vfu_conn_pump(c->conn, (int64_t)timeout_ns);
	} while (!r);
	return r == -ETIMEDOUT ? 0 : -EIO;
}

/* ---- requests of ours ---- */

int vfu_client_call(struct vfio_user_client *c, struct vfu_client_call *q)
{
	struct vfu_call call = {
		.cmd = q->cmd,
		.iov = q->iov,
		.niov = q->niov,
		.fds = q->fds,
		.nfds = q->nfds,
		.reply = q->reply,
		.reply_max = q->reply_max,
		.reply_fds = q->reply_fds,
		.timeout_ns = c->timeout_ns,
	};
	int r = vfu_conn_call(c->conn, &call);

	q->reply_len = call.reply_len;
	if (!r && call.reply_len < q->reply_min) {
		if (q->reply_fds)
			vdpa_fds_close(q->reply_fds);
		vfu_conn_close(c->conn, -EPROTO);
		r = -EPROTO;
	}
	return r;
}

/* ---- the version ---- */

static const char our_caps[] = "{\"capabilities\":{\"max_msg_fds\":16,"
			       "\"max_data_xfer_size\":1048576,\"write_multiple\":true}}";

static int take_caps(struct vfio_user_client *c, const char *text, size_t len)
{
	json_t *root, *xfer;

	c->peer_xfer = VFU_XFER_DEFAULT;
	if (!len)
		return 0;
	root = text[len - 1] ? NULL : json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(root)) {
		json_decref(root);
		return -EPROTO;
	}
	xfer = json_object_get(json_object_get(root, "capabilities"), "max_data_xfer_size");
	if (json_integer_value(xfer) > 0 && json_integer_value(xfer) < (json_int_t)VFU_XFER_MAX)
		c->peer_xfer = (uint32_t)json_integer_value(xfer);
	json_decref(root);
	return 0;
}

static int agree(struct vfio_user_client *c)
{
	struct vfu_version v = {.major = VFU_MAJOR, .minor = VFU_MINOR}, got;
	char reply[4096];
	struct vfu_client_call call = {
		.cmd = VFU_VERSION,
		.iov = {{&v, sizeof(v)}, {(void *)(uintptr_t)our_caps, sizeof(our_caps)}},
		.niov = 2,
		.reply = reply,
		.reply_min = sizeof(got),
		.reply_max = sizeof(reply),
	};
	int r = vfu_client_call(c, &call);

	if (r)
		return r;
	memcpy(&got, reply, sizeof(got));
	if (got.major != v.major || got.minor > v.minor)
		return -EPROTONOSUPPORT;
	return take_caps(c, reply + sizeof(got), call.reply_len - sizeof(got));
}

/* ---- life ---- */

void vfio_user_client_free(struct vfio_user_client *c)
{
	struct list *node;

	if (!c)
		return;
	if (c->conn) {
		vfu_conn_close(c->conn, -ESHUTDOWN);
		vfu_conn_put(c->conn);
	}
	while ((node = list_pop(&c->mems)))
		free(list_entry(node, struct vfu_client_mem, link));
	free(c);
}

int vfio_user_client_new_fd(int fd, uint64_t timeout_ns, struct vfio_user_client **out,
			    struct vdpa_error *err)
{
	struct vfio_user_client *c = calloc(1, sizeof(*c));
	int r;

	if (!c) {
		vdpa_fd_close(&fd);
		return vdpa_error_set(err, ENOMEM, NULL, "no memory");
	}
	list_init(&c->mems);
	c->timeout_ns = timeout_ns;
	r = vfu_conn_new(NULL, fd, &client_conn_ops, c, &c->conn);
	if (!r)
		r = agree(c);
	if (r) {
		vfio_user_client_free(c);
		return vdpa_error_set(err, -r, NULL, "vfio-user: no version is agreed on: %s",
				      strerror(-r));
	}
	*out = c;
	return 0;
}

int vfio_user_client_new(const char *path, uint64_t timeout_ns, struct vfio_user_client **out,
			 struct vdpa_error *err)
{
	struct sockaddr_un addr;
	int r = vdpa_unix_address(path, &addr, err), fd;

	if (r)
		return r;
	fd = vdpa_unix_socket(SOCK_STREAM);
	if (fd < 0)
		return vdpa_error_set(err, -fd, NULL, "%s: %s", path, strerror(-fd));
	if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr))) {
		r = vdpa_error_set(err, errno, NULL, "%s: %s", path, strerror(errno));
		close(fd);
		return r;
	}
	return vfio_user_client_new_fd(fd, timeout_ns, out, err);
}

/* ---- memory ---- */

/* From before the server is told: it may ask at once. */
static struct vfu_client_mem *keep(struct vfio_user_client *c, const struct vfio_user_mem *mem)
{
	struct vfu_client_mem *m = malloc(sizeof(*m));

	if (!m)
		return NULL;
	m->mem = *mem;
	list_add_tail(&c->mems, &m->link);
	return m;
}

static void forget(struct vfio_user_client *c, iova_t iova)
{
	struct vfu_client_mem *m, *tmp;

	list_for_each_entry_safe (m, tmp, &c->mems, link) {
		if (m->mem.iova != iova)
			continue;
		list_del(&m->link);
		free(m);
	}
}

int vfio_user_dma_map(struct vfio_user_client *c, const struct vfio_user_mem *mem)
{
	struct vfu_dma_map map = {
		.argsz = sizeof(map),
		.flags = (mem->perm & VHOST_MAP_RO ? VFU_DMA_F_READ : 0) |
			 (mem->perm & VHOST_MAP_WO ? VFU_DMA_F_WRITE : 0),
		.offset = mem->fd >= 0 ? mem->offset : 0,
		.addr = mem->iova,
		.size = mem->size,
	};
	struct vfu_client_call call = {
		.cmd = VFU_DMA_MAP,
		.iov = {{&map, sizeof(map)}},
		.niov = 1,
		.fds = &mem->fd,
		.nfds = mem->fd >= 0,
	};
	struct vfu_client_mem *m = mem->fd < 0 ? keep(c, mem) : NULL;
	int r;

	if (mem->fd < 0 && !m)
		return -ENOMEM;
	r = vfu_client_call(c, &call);
	if (r && m) {
		list_del(&m->link);
		free(m);
	}
	return r;
}

int vfio_user_dma_unmap(struct vfio_user_client *c, iova_t iova, uint64_t size)
{
	struct vfu_dma_unmap unmap = {.argsz = sizeof(unmap), .addr = iova, .size = size}, reply;
	struct vfu_client_call call = {
		.cmd = VFU_DMA_UNMAP,
		.iov = {{&unmap, sizeof(unmap)}},
		.niov = 1,
		.reply = &reply,
		.reply_max = sizeof(reply),
	};
	int r = vfu_client_call(c, &call);

	if (!r)
		forget(c, iova);
	return r;
}
