// SPDX-License-Identifier: BSD-3-Clause
/* A tap interface: how it is found, made, or taken over by descriptor (net_tap.h). */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "backend/net_tap.h"
#include "base/fd.h"

#define TUN_PATH "/dev/net/tun"

/* ---- by name ---- */

static int open_node(struct vdpa_error *err, const char *object)
{
	int fd = open(TUN_PATH, O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (fd >= 0)
		return fd;
	if (errno == ENOENT || errno == ENXIO || errno == ENODEV)
		return vdpa_error_set(err, errno, object,
				      TUN_PATH
				      ": this kernel has no tap interfaces (modprobe tun)");
	return vdpa_error_set(err, errno, object, TUN_PATH ": %s", strerror(errno));
}

static int refused(const struct tap *tap, bool exists, const char *object, struct vdpa_error *err)
{
	int e = errno;

	if (e == EPERM && exists)
		return vdpa_error_set(err, e, object,
				      "tap interface %s belongs to somebody else: CAP_NET_ADMIN is "
				      "needed, or \"ip tuntap add dev %s mode tap vnet_hdr%s user "
				      "%u\"",
				      tap->ifname, tap->ifname,
				      tap->multi_queue ? " multi_queue" : "", (unsigned)getuid());
	if (e == EPERM)
		return vdpa_error_set(
			err, e, object,
			"there is no interface %s, and making one needs CAP_NET_ADMIN: "
			"have it made by \"ip tuntap add dev %s mode tap vnet_hdr%s "
			"user %u\"",
			tap->ifname, tap->ifname, tap->multi_queue ? " multi_queue" : "",
			(unsigned)getuid());
	if (e == EBUSY)
		return vdpa_error_set(err, e, object,
				      "tap interface %s is in use by another program or device",
				      tap->ifname);
	if (e == EINVAL && tap->multi_queue)
		return vdpa_error_set(err, e, object,
				      "interface %s is not a tap interface with several queues, "
				      "which max_vqp asks for: make it with \"multi_queue\"",
				      tap->ifname);
	if (e == EINVAL)
		return vdpa_error_set(err, e, object, "interface %s is not a tap interface",
				      tap->ifname);
	return vdpa_error_set(err, e, object, "tap interface %s: %s", tap->ifname, strerror(e));
}

/* Open one queue of the interface. 0 or -1 with errno. */
static int set_iff(struct tap *tap, int fd)
{
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};

	if (tap->multi_queue)
		ifr.ifr_flags |= IFF_MULTI_QUEUE;
	memcpy(ifr.ifr_name, tap->ifname, IFNAMSIZ);
	if (ioctl(fd, TUNSETIFF, &ifr))
		return -1;
	/* A pattern such as tap%d has become a name. */
	memcpy(tap->ifname, ifr.ifr_name, IFNAMSIZ);
	return 0;
}

static int open_queue(struct tap *tap, unsigned pairs, bool exists, const char *object,
		      struct vdpa_error *err)
{
	int fd = open_node(err, object), r;

	if (fd < 0)
		return fd;
	r = set_iff(tap, fd);
	/* An interface of several queues can be used with one. */
	if (r && errno == EINVAL && exists && pairs == 1 && !tap->multi_queue) {
		tap->multi_queue = true;
		r = set_iff(tap, fd);
		if (r)
			tap->multi_queue = false;
	}
	if (r) {
		r = refused(tap, exists || tap->nfds, object, err);
		close(fd);
		return r;
	}
	tap->fd[tap->nfds++] = fd;
	return 0;
}

static int made_interface(struct tap *tap, uint16_t mtu, const char *object, struct vdpa_error *err)
{
	int r = mtu ? net_link_set_mtu(tap->ifname, mtu) : 0;

	if (r)
		return vdpa_error_set(err, -r, object,
				      "interface %s does not take an mtu of %u: %s", tap->ifname,
				      mtu, strerror(-r));
	r = net_link_set_up(tap->ifname);
	return r ? vdpa_error_set(err, -r, object, "interface %s cannot be brought up: %s",
				  tap->ifname, strerror(-r))
		 : 0;
}

static int open_name(struct tap *tap, const struct backend_open_params *params,
		     struct vdpa_error *err)
{
	const char *name = vdpa_attr_get(params->attrs, "ifname");
	unsigned pairs = params->pairs ? params->pairs : 1;
	bool exists;
	int r = 0;

	if (!*name || strlen(name) >= IFNAMSIZ || strchr(name, '/'))
		return vdpa_error_set(err, EINVAL, params->name,
				      "ifname \"%.40s\" is not the name of an interface: 1 to %d "
				      "characters without /",
				      name, IFNAMSIZ - 1);
	memcpy(tap->ifname, name, strlen(name));
	exists = if_nametoindex(name) != 0;
	tap->multi_queue = pairs > 1;
	while (!r && tap->nfds < pairs)
		r = open_queue(tap, pairs, exists, params->name, err);
	return r || exists ? r : made_interface(tap, params->mtu, params->name, err);
}

/* ---- by descriptor ---- */

static int check_fd(struct tap *tap, int fd, const char *object, struct vdpa_error *err)
{
	const short flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	struct ifreq ifr = {0};

	if (ioctl(fd, TUNGETIFF, &ifr))
		return vdpa_error_set(err, errno, object,
				      "fd %d is not the descriptor of a tap interface: %s", fd,
				      strerror(errno));
	if ((ifr.ifr_flags & (flags | IFF_TUN)) != flags)
		return vdpa_error_set(
			err, EINVAL, object,
			"fd %d is of interface %s with flags 0x%x: IFF_TAP, IFF_NO_PI "
			"and IFF_VNET_HDR are needed (0x%x)",
			fd, ifr.ifr_name, (unsigned short)ifr.ifr_flags, (unsigned short)flags);
	if (tap->nfds && strncmp(tap->ifname, ifr.ifr_name, IFNAMSIZ) != 0)
		return vdpa_error_set(err, EINVAL, object,
				      "fd %d is of interface %s, the ones before of %s", fd,
				      ifr.ifr_name, tap->ifname);
	memcpy(tap->ifname, ifr.ifr_name, IFNAMSIZ);
	tap->multi_queue = ifr.ifr_flags & IFF_MULTI_QUEUE;
	return 0;
}

static int take_fd(struct tap *tap, int fd, const char *object, struct vdpa_error *err)
{
	int r = check_fd(tap, fd, object, err), own;

	if (r)
		return r;
	own = vdpa_fd_dup(fd);
	if (own < 0)
		return vdpa_error_set(err, -own, object, "fd %d: %s", fd, strerror(-own));
	tap->fd[tap->nfds++] = own;
	r = vdpa_fd_set_nonblock(own, true);
	return r ? vdpa_error_set(err, -r, object, "fd %d: %s", fd, strerror(-r)) : 0;
}

static int open_fds(struct tap *tap, const struct backend_open_params *params,
		    struct vdpa_error *err)
{
	unsigned pairs = params->pairs ? params->pairs : 1;
	char key[8] = "fd";
	int r = 0;

	if (pairs > TAP_MAX_FDS)
		return vdpa_error_set(err, EINVAL, params->name,
				      "max_vqp %u: by descriptor at most %d, by ifname %d", pairs,
				      TAP_MAX_FDS, TAP_MAX_PAIRS);
	for (unsigned i = 0; !r && i < TAP_MAX_FDS; i++) {
		if (i)
			snprintf(key, sizeof(key), "fd%u", i);
		if (!vdpa_attr_get(params->attrs, key) != (i >= pairs))
			return vdpa_error_set(
				err, EINVAL, params->name,
				"%s is %s: there has to be one descriptor for each of "
				"%u queue pairs",
				key, i < pairs ? "missing" : "one too many", pairs);
		if (i < pairs)
			r = take_fd(tap, (int)vdpa_attr_u64(params->attrs, key, 0), params->name,
				    err);
	}
	return r;
}

/* ---- both ---- */

static int set_header(const struct tap *tap, int fd)
{
	int bytes = NET_HDR_BYTES, le = 1;

	if (ioctl(fd, TUNSETVNETHDRSZ, &bytes) || ioctl(fd, TUNSETVNETLE, &le))
		return -errno;
	/* Until a driver says what it takes: complete packets. */
	return ioctl(fd, TUNSETOFFLOAD, 0ul) ? -errno : 0;
}

static int prepare(struct tap *tap, const struct backend_open_params *params,
		   struct vdpa_error *err)
{
	int sndbuf = (int)vdpa_attr_size(params->attrs, "sndbuf", INT32_MAX), r = 0;

	for (unsigned i = 0; i < tap->nfds && !r; i++) {
		struct ifreq ifr = {.ifr_flags = IFF_DETACH_QUEUE};

		r = set_header(tap, tap->fd[i]);
		if (!r && ioctl(tap->fd[i], TUNSETSNDBUF, &sndbuf))
			r = -errno;
		/* A flow that the kernel gives to a pair that does not run would be lost. */
		if (!r && tap->multi_queue && ioctl(tap->fd[i], TUNSETQUEUE, &ifr))
			r = errno == EINVAL ? 0 : -errno; /* it was not attached */
	}
	return r ? vdpa_error_set(err, -r, params->name, "tap interface %s: %s", tap->ifname,
				  strerror(-r))
		 : 0;
}

static void link_changed(struct net_link *link)
{
	struct tap *tap = vdpa_container_of(link, struct tap, link);

	if (tap->changed)
		tap->changed(tap->arg);
}

/* Is the interface in the network namespace that we are in? */
static bool is_here(const struct tap *tap)
{
	struct stat its, ours;
	bool same;
	int fd;

	fd = ioctl(tap->fd[0], TUNGETDEVNETNS);
	if (fd < 0)
		return false;
	same = !fstat(fd, &its) && !stat("/proc/thread-self/ns/net", &ours) &&
	       its.st_ino == ours.st_ino && its.st_dev == ours.st_dev;
	close(fd);
	return same;
}

/* What is not known of an interface elsewhere: its MTU and carrier. */
static int watch_link(struct tap *tap, const struct backend_open_params *params,
		      struct vdpa_error *err)
{
	unsigned ifindex = if_nametoindex(tap->ifname);
	int r;

	if (!ifindex || (vdpa_attr_get(params->attrs, "fd") && !is_here(tap)))
		return 0;
	r = net_link_open(&tap->link, vdpa_loop_group_control(params->loops), ifindex,
			  link_changed);
	return r ? vdpa_error_set(err, -r, params->name, "interface %s: no news of its state: %s",
				  tap->ifname, strerror(-r))
		 : 0;
}

int net_tap_open(const struct backend_open_params *params, struct net_backend **out,
		 struct vdpa_error *err)
{
	const char *ifname = vdpa_attr_get(params->attrs, "ifname");
	struct tap *tap;
	int r;

	if (!ifname == !vdpa_attr_get(params->attrs, "fd"))
		return vdpa_error_set(err, EINVAL, params->name,
				      "backend tap needs either ifname or fd");
	if (params->pairs > TAP_MAX_PAIRS)
		return vdpa_error_set(err, EINVAL, params->name,
				      "max_vqp %u: this backend takes 1 to %d", params->pairs,
				      TAP_MAX_PAIRS);
	tap = calloc(1, sizeof(*tap));
	if (!tap)
		return vdpa_error_set(err, ENOMEM, params->name, "no memory for the backend");
	tap->be.ops = &net_tap_ops;
	r = ifname ? open_name(tap, params, err) : open_fds(tap, params, err);
	if (!r)
		r = prepare(tap, params, err);
	if (!r)
		r = watch_link(tap, params, err);
	if (r) {
		net_tap_close(&tap->be);
		return r;
	}
	*out = &tap->be;
	return 0;
}

void net_tap_close(struct net_backend *be)
{
	struct tap *tap = to_tap(be);

	net_link_close(&tap->link);
	for (unsigned i = 0; i < tap->nfds; i++)
		vdpa_fd_close(&tap->fd[i]);
	free(tap);
}
