// SPDX-License-Identifier: BSD-3-Clause
/*
 * Life of a server: the listening socket, one client at a time, and the end. The control thread
 * makes and frees it; everything else is on its loop.
 */
#include "vfio_user/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define BUDGET_NS 20000000000ull

/* ---- clients ---- */

static int accepted(struct vdpa_listener *listener, int fd)
{
	struct vfio_user_server *srv = vdpa_container_of(listener, struct vfio_user_server, listen);
	int r;

	srv->versioned = false;
	r = vfu_conn_new(srv->loop, fd, &vfu_server_conn_ops, srv, &srv->conn);
	if (r)
		return r;
	srv->conn->reentrant = srv->ops->reentrant;
	srv->conn->budget_ns = srv->config.dma_budget_ns ? srv->config.dma_budget_ns : BUDGET_NS;
	vdpa_listener_pause(listener); /* others wait until this one has gone */
	return 0;
}

static void listen_init(struct vfio_user_server *srv)
{
	srv->listen = VDPA_LISTENER_INIT;
	srv->listen.loop = srv->loop;
	srv->listen.log = srv->config.log;
	srv->listen.what = "vfio-user";
	srv->listen.accepted = accepted;
}

/* ---- the end ---- */

static void destroy(struct vfio_user_server *srv)
{
	vdpa_unix_close(&srv->listen.sock);
	vfu_irqs_free(srv);
	pthread_mutex_destroy(&srv->irq_lock);
	free(srv->name);
	free(srv);
}

static void on_over(struct vdpa_loop_msg *msg)
{
	struct vfio_user_server *srv = vdpa_container_of(msg, struct vfio_user_server, over);
	struct vdpa_done freed = srv->freed;

	destroy(srv);
	vdpa_done_call(&freed, 0);
}

static void finish(struct vfio_user_server *srv)
{
	vdpa_loop_post(vdpa_loop_group_control(vdpa_loop_get_group(srv->loop)), &srv->over,
		       on_over);
}

void vfu_session_over(struct vfio_user_server *srv)
{
	vfu_dirty_forget(srv);
	srv->mig_state = VFIO_USER_MIG_RUNNING;
	vfu_conn_put(srv->conn);
	srv->conn = NULL;
	if (srv->stopping)
		finish(srv);
	else
		vdpa_listener_resume(&srv->listen);
}

static void on_stop(struct vdpa_loop_msg *msg)
{
	struct vfio_user_server *srv = vdpa_container_of(msg, struct vfio_user_server, stop);

	srv->stopping = true;
	vdpa_listener_stop(&srv->listen);
	if (srv->conn)
		vfu_conn_close(srv->conn, -ESHUTDOWN);
	else
		finish(srv);
}

void vfio_user_server_free(struct vfio_user_server *srv, const struct vdpa_done *done)
{
	srv->freed = done ? *done : (struct vdpa_done){NULL, NULL};
	vdpa_loop_post(srv->loop, &srv->stop, on_stop);
}

/* ---- the beginning ---- */

static int bad(struct vdpa_error *err, const char *what, unsigned i)
{
	return vdpa_error_set(err, EINVAL, NULL, "vfio-user: %s %u", what, i);
}

/* [@off, @off + @size) of whole pages, inside. */
static bool area_fits(const struct vfio_user_region *r, const struct vfio_user_area *a)
{
	return a->size && a->offset <= r->size && a->size <= r->size - a->offset &&
	       !((a->offset | a->size) & 4095);
}

static int check_region(const struct vfio_user_region *r, unsigned i, struct vdpa_error *err)
{
	const uint32_t known = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE |
			       VFIO_REGION_INFO_FLAG_MMAP;

	if (r->flags & ~known)
		return bad(err, "unknown flags of region", i);
	if (r->nareas > VFIO_USER_AREAS_MAX)
		return bad(err, "too many areas in region", i);
	if (r->flags & VFIO_REGION_INFO_FLAG_MMAP ? r->fd < 0 : r->nareas > 0)
		return bad(err, "areas need MMAP, and MMAP a file: region", i);
	for (unsigned a = 0; a < r->nareas; a++) {
		if (!area_fits(r, &r->areas[a]))
			return bad(err, "an area is not of whole pages, or not inside, of region",
				   i);
	}
	return 0;
}

static int check_config(const struct vfio_user_config *c, struct vdpa_error *err)
{
	const struct vfio_user_ops *ops = c->ops;
	int r = 0;

	if (c->size != sizeof(*c) || !ops || ops->size != sizeof(*ops) || !c->path || !c->name)
		return vdpa_error_set(err, EINVAL, NULL, "vfio-user: size, ops, path or name");
	if (!ops->dma_map || !ops->dma_unmap || !ops->region_read || !ops->region_write)
		return vdpa_error_set(err, EINVAL, c->name,
				      "vfio-user: dma_map, dma_unmap, "
				      "region_read and region_write are needed");
	if (!ops->mig_arc != !ops->mig_read || !ops->mig_arc != !ops->mig_write)
		return vdpa_error_set(
			err, EINVAL, c->name,
			"vfio-user: mig_arc, mig_read and mig_write, or none of them");
	if (c->nregions > VFIO_USER_REGIONS_MAX || c->nirqs > VFIO_USER_IRQS_MAX)
		return vdpa_error_set(err, EINVAL, c->name,
				      "vfio-user: %u regions and %u interrupts: at most %u and %u",
				      c->nregions, c->nirqs, VFIO_USER_REGIONS_MAX,
				      VFIO_USER_IRQS_MAX);
	for (unsigned i = 0; i < c->nregions && !r; i++)
		r = check_region(&c->regions[i], i, err);
	return r;
}

static void on_start(struct vdpa_loop_msg *msg)
{
	struct vfio_user_server *srv = vdpa_container_of(msg, struct vfio_user_server, start);

	vdpa_listener_resume(&srv->listen);
}

int vfio_user_server_new(struct vdpa_loop *loop, const struct vfio_user_config *config,
			 struct vfio_user_server **out, struct vdpa_error *err)
{
	struct vfio_user_server *srv;
	int r = check_config(config, err);

	if (r)
		return r;
	srv = calloc(1, sizeof(*srv));
	if (!srv)
		return vdpa_error_set(err, ENOMEM, config->name, "no memory");
	srv->loop = loop;
	srv->config = *config;
	srv->ops = config->ops;
	srv->arg = config->arg;
	listen_init(srv);
	srv->limit = (struct vdpa_ratelimit)VDPA_RATELIMIT_INIT;
	srv->mig_state = VFIO_USER_MIG_RUNNING;
	pthread_mutex_init(&srv->irq_lock, NULL);
	memcpy(srv->regions, config->regions, config->nregions * sizeof(*config->regions));
	srv->name = strdup(config->name);
	srv->listen.object = srv->name;
	r = srv->name ? vfu_irqs_init(srv) : -ENOMEM;
	if (r)
		vdpa_error_set(err, -r, config->name, "no memory");
	else
		r = vdpa_unix_listen(&srv->listen.sock, config->path, SOCK_STREAM, config->attrs,
				     err);
	if (r) {
		destroy(srv);
		return r;
	}
	vdpa_loop_call(loop, &srv->start, on_start);
	*out = srv;
	return 0;
}

void vfio_user_server_stats(struct vfio_user_server *srv, struct vfio_user_stats *stats)
{
	*stats = (struct vfio_user_stats){
		.clients = srv->clients,
		.commands = srv->commands,
		.refused = srv->refused,
		.reads = srv->reads,
		.writes = srv->writes,
		.posted = srv->posted,
		.maps = srv->maps_now,
	};
}
