// SPDX-License-Identifier: BSD-3-Clause
/* The bus driver vduse, on a kernel that is a stand-in; tests/vm has the real ones. */
#include "vduse_kernel.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/utsname.h>

#include "../alloc_fail.h"
#include "../open_fds.h"

#define MS (SG_SECOND / 1000)
#define NUM 16
#define STATUS_FEATURES (SG_ACK | VIRTIO_CONFIG_S_FEATURES_OK)
#define STATUS_OK (STATUS_FEATURES | VIRTIO_CONFIG_S_DRIVER_OK)

struct fixture {
	struct vdpa_ctx *ctx;
	struct hold_dev *dev;
	struct vdpa_device *vdev;
	char log[192], text[2048];
	struct vdpa_error err;
	struct virtqueue *vq;
	uint8_t *mem;
	int memfd;
};

static struct fixture f;

/* ---- rig ---- */

static void on_log(void *arg, enum vdpa_log_level level, const char *object, const char *msg)
{
	size_t at = strlen(f.text);

	if (level <= VDPA_LOG_INFO)
		snprintf(f.text + at, sizeof(f.text) - at, "%s\n", msg);
}

static void make_device(const struct hold_params *params)
{
	f.dev = hold_make(f.ctx, "h0", params, &f.err);
	assert_non_null(f.dev);
	assert_int_equal(vdpa_soft_register(&f.dev->soft, &f.err), 0);
	f.vdev = &f.dev->soft.vdpa;
}

static int setup(void **state)
{
	struct vdpa_ctx_config config = {.size = sizeof(config),
					 .log = {on_log, NULL, VDPA_LOG_DEBUG}};

	memset(&f, 0, sizeof(f));
	vk_start();
	snprintf(f.log, sizeof(f.log), "%s/log", vk.root);
	assert_int_equal(vdpa_ctx_new(&config, &f.ctx), 0);
	assert_int_equal(vdpa_register_builtin(f.ctx), 0);
	f.memfd = memfd_create("guest", MFD_CLOEXEC);
	assert_int_equal(ftruncate(f.memfd, SG_BYTES), 0);
	f.mem = mmap(NULL, SG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, f.memfd, 0);
	assert_ptr_not_equal(f.mem, MAP_FAILED);
	make_device(NULL);
	return 0;
}

static void run(int64_t ns)
{
	bool never = false;

	vdpa_ctx_wait(f.ctx, &never, ns);
}

static int wait_for(struct sg_wait *wait)
{
	assert_int_equal(vdpa_ctx_wait(f.ctx, &wait->done, 10 * SG_SECOND), 0);
	return wait->result;
}

static void delete_device(void)
{
	struct sg_wait wait = {0};
	struct vdpa_done done = sg_done(&wait);

	assert_int_equal(vdpa_unregister_device(f.vdev, &done), 0);
	assert_int_equal(wait_for(&wait), 0);
	f.vdev = NULL;
	run(5 * MS);
}

static int teardown(void **state)
{
	if (f.vdev)
		delete_device();
	virtqueue_free(f.vq);
	munmap(f.mem, SG_BYTES);
	close(f.memfd);
	assert_int_equal(vdpa_ctx_free(f.ctx), 0);
	vk_stop();
	return 0;
}

static int bind_as(const char *key, const char *value)
{
	const struct vdpa_attr attrs[] = {{"log", f.log}, {key, value}, {NULL, NULL}};
	struct sg_wait wait = {0};
	struct vdpa_done done = sg_done(&wait);
	int ret;

	f.err = (struct vdpa_error){.msg = ""};
	ret = vdpa_bind(f.vdev, "vduse", attrs, &f.err);
	if (ret)
		return ret;
	assert_int_equal(vdpa_settle(f.vdev, &f.err, &done), 0);
	return wait_for(&wait);
}

static int unbind(void)
{
	struct sg_wait wait = {0};
	struct vdpa_done done = sg_done(&wait);

	assert_int_equal(vdpa_unbind(f.vdev, &done), 0);
	return wait_for(&wait);
}

static void bound(void)
{
	assert_int_equal(bind_as(NULL, NULL), 0);
}

static void says(const char *word)
{
	if (!strstr(f.err.msg, word))
		fail_msg("\"%s\" is not in: %s", word, f.err.msg);
}

static bool logged(const char *word)
{
	return strstr(f.text, word);
}

static void get_node(void *arg, const char *key, const char *value)
{
	if (!strcmp(key, "node"))
		snprintf(arg, 64, "%s", value);
}

static void node_is(const char *node)
{
	char text[64] = "";

	vdpa_device_driver(f.vdev)->show(f.vdev, get_node, text);
	assert_string_equal(text, node);
}

/* ---- the kernel's driver ---- */

static struct vduse_dev_response answer;

static int ask(const struct vduse_dev_request *req)
{
	vk_request(req);
	for (int i = 0; i < 500 && !vk_answer(&answer); i++)
		run(MS);
	assert_int_equal(answer.request_id, vk.next_id);
	return answer.result == VDUSE_REQ_RESULT_OK ? 0 : -EIO;
}

static int set_status(uint8_t status)
{
	return ask(&(struct vduse_dev_request){.type = VDUSE_SET_STATUS, .status = status});
}

static int update_iotlb(uint64_t first, uint64_t last)
{
	return ask(&(struct vduse_dev_request){.type = VDUSE_UPDATE_IOTLB,
					       .iova = {.start = first, .last = last}});
}

static void map(unsigned i, uint64_t iova, uint64_t size, uint64_t offset)
{
	vk.map[i] = (struct vk_map){
		.start = iova,
		.last = iova + size - 1,
		.offset = offset,
		.perm = VHOST_MAP_RW,
		.fd = dup(f.memfd),
	};
}

static void unmap(unsigned i)
{
	close(vk.map[i].fd);
	vk.map[i].fd = -1;
}

/* A ring of the driver's for queue 0, at the start of its memory; data elsewhere. */
static void ring(uint64_t features)
{
	struct virtqueue_config config = {.size = sizeof(config),
					  .num = NUM,
					  .features = features,
					  .mem = f.mem,
					  .mem_iova = SG_IOVA};
	struct vduse_vq_info *info = &vk.info[0];
	iova_t desc, driver, device;

	assert_int_equal(virtqueue_new(&config, &f.vq), 0);
	virtqueue_enable_cb(f.vq);
	virtqueue_addrs(f.vq, &desc, &driver, &device);
	*info = (struct vduse_vq_info){.num = NUM,
				       .desc_addr = desc,
				       .driver_addr = driver,
				       .device_addr = device,
				       .ready = 1};
	if (features & VDPA_BIT(VIRTIO_F_RING_PACKED))
		info->state.packed = (struct vduse_state_packed){1, 0, 1, 0};
	map(0, SG_IOVA, SG_RING_BYTES, 0);
	map(1, SG_IOVA + SG_DATA, SG_BYTES - SG_DATA, SG_DATA);
}

static void negotiate(uint64_t features)
{
	vk.driver_features = features;
	assert_int_equal(set_status(VIRTIO_CONFIG_S_ACKNOWLEDGE), 0);
	assert_int_equal(set_status(SG_ACK), 0);
	assert_int_equal(set_status(STATUS_FEATURES), 0);
}

static void driver_up(uint64_t features)
{
	ring(features);
	negotiate(features);
	assert_int_equal(set_status(STATUS_OK), 0);
}

static void post(unsigned slot)
{
	struct virtqueue_sg sg = sg_at(SG_DATA + slot * 4096ull, 10);

	assert_int_equal(virtqueue_add(f.vq, &sg, 0, 1, &f.mem[slot + 1]), 0);
	virtqueue_publish(f.vq);
	assert_int_equal(write(vk.kick[0], &(uint64_t){1}, 8), 8);
	run(20 * MS);
}

static unsigned completions(void)
{
	unsigned n = 0;
	uint32_t len;

	while (virtqueue_get(f.vq, &len)) {
		assert_int_equal(len, 10);
		n++;
	}
	assert_false(virtqueue_broken(f.vq));
	return n;
}

/* ---- create ---- */

static void test_create(void **state)
{
	vk.destroy_busy = 3;
	bound();
	node_is("virtio5");
	assert_string_equal(vk.dev.name, "h0");
	assert_int_equal(vk.dev.device_id, 42);
	assert_int_equal(vk.dev.vendor_id, 7);
	assert_int_equal(vk.dev.vq_num, HOLD_QUEUES);
	assert_int_equal(vk.dev.ngroups, 1);
	assert_int_equal(vk.dev.config_size, 16);
	assert_int_equal(vk.config[1], 2);
	for (unsigned i = 0; i < HOLD_QUEUES; i++)
		assert_int_equal(vk.vq[i].max_size, vdpa_get_vq_size(f.vdev, (uint16_t)i));
	assert_true(vk.dev.features & VDPA_BIT(VIRTIO_F_RING_PACKED));
	assert_false(vk.dev.features & VDPA_BIT(VIRTIO_F_RING_RESET));
	assert_false(vk.dev.features & VDPA_BIT(VIRTIO_F_NOTIFICATION_DATA));
	assert_true(logged("RING_RESET"));
	assert_int_equal(access(f.log, F_OK), 0);
	/* DESTROY says EBUSY for a while. */
	assert_int_equal(unbind(), 0);
	assert_false(vk.created || vk.destroy_busy);
	assert_false(vk_exists("/sys/bus/vdpa/devices/h0"));
	assert_int_equal(access(f.log, F_OK), -1);
	assert_int_equal(bind_as("packed", "off"), 0);
	assert_false(vk.dev.features & VDPA_BIT(VIRTIO_F_RING_PACKED));
}

static void test_older_kernel(void **state)
{
	vk.api_max = 0;
	bound();
	assert_int_equal(vk.dev.ngroups, 0);
	driver_up(SG_V1);
	post(0);
	assert_int_equal(completions(), 1);
}

static void refused_with(int error, const char *word)
{
	assert_int_equal(bind_as(NULL, NULL), error);
	says(word);
	assert_null(vdpa_device_driver(f.vdev));
	assert_int_equal(access(f.log, F_OK), -1);
}

static void test_missing(void **state)
{
	struct utsname u;
	char deps[256];

	uname(&u);
	snprintf(deps, sizeof(deps), "/lib/modules/%s/modules.dep", u.release);
	vk.control_error = -ENOENT;
	refused_with(-ENODEV, "if this kernel");
	vk_file(deps, "kernel/fs/ext4/ext4.ko:\nkernel/x/other.ko: kernel/vduse.ko\n");
	refused_with(-EOPNOTSUPP, "CONFIG_VDPA_USER");
	vk_file(deps, "kernel/drivers/vdpa/vdpa_user/vduse.ko.xz: kernel/drivers/vdpa/vdpa.ko\n");
	refused_with(-ENODEV, "\"modprobe vduse\"");
	vk.control_error = -EACCES;
	refused_with(-EACCES, "needs root");
	vk.control_error = 0;
	vk.create_error = -EPERM;
	refused_with(-EPERM, "CAP_NET_ADMIN");
	vk.create_error = -EINVAL;
	refused_with(-EOPNOTSUPP, "type 42");
	vk.create_error = -EEXIST;
	refused_with(-EEXIST, "choose another");
}

static void fails_later(int error, const char *word)
{
	assert_int_equal(bind_as(NULL, NULL), error);
	says(word);
	assert_int_equal(unbind(), 0);
	assert_false(vk.created);
}

static void test_not_attached(void **state)
{
	vk.add_error = -EPERM;
	fails_later(-EPERM, "CAP_NET_ADMIN");
	vk.add_error = 0;
	vk.driver = NULL;
	fails_later(-ENXIO, "does not take");
	assert_int_equal(bind_as("kernel_driver", "vhost_vdpa"), -ENODEV);
	says("\"modprobe vhost_vdpa\"");
	assert_int_equal(unbind(), 0);
	assert_int_equal(bind_as("name", "a/b"), -EINVAL);
}

/* ---- messages ---- */

static void test_status(void **state)
{
	bound();
	negotiate(SG_V1 | HOLD_F_ONE);
	assert_int_equal(vdpa_get_status(f.vdev), STATUS_FEATURES);
	assert_int_equal(vdpa_get_driver_features(f.vdev), SG_V1 | HOLD_F_ONE);
	/* Taken back, without a reset before. */
	assert_int_equal(set_status(VIRTIO_CONFIG_S_ACKNOWLEDGE), 0);
	assert_int_equal(vdpa_get_status(f.vdev), VIRTIO_CONFIG_S_ACKNOWLEDGE);
	assert_int_equal(set_status(0), 0);
	assert_int_equal(vdpa_get_status(f.vdev), 0);
	/* What the device does not grant is not said to be granted. */
	vk.driver_features = SG_V1 | HOLD_F_BAD;
	assert_int_equal(set_status(SG_ACK), 0);
	assert_int_equal(set_status(STATUS_FEATURES), -EIO);
	vk.driver_features = SG_V1 | VDPA_BIT(55);
	assert_int_equal(set_status(STATUS_FEATURES), -EIO);
}

static void test_messages(void **state)
{
	struct vduse_dev_request req = {.type = VDUSE_GET_VQ_STATE};

	bound();
	driver_up(SG_V1 | VDPA_BIT(VIRTIO_F_RING_PACKED));
	post(0);
	assert_int_equal(completions(), 1);
	assert_int_equal(vk.irqs[0], 1);
	assert_int_equal(ask(&req), 0);
	assert_int_equal(answer.vq_state.state.packed.last_avail_counter, 1);
	assert_int_equal(answer.vq_state.state.packed.last_avail_idx, 1);
	/* The used half is exact when the queue has stopped. */
	assert_int_equal(answer.vq_state.state.packed.last_used_counter, 1);
	req.vq_state.index = HOLD_QUEUES;
	assert_int_equal(ask(&req), -EIO);
	assert_int_equal(ask(&(struct vduse_dev_request){.type = 77}), -EIO);
	assert_int_equal(set_status(0), 0);
	assert_int_equal(f.dev->q[0].stops, 1);
	virtqueue_free(f.vq);
	memset(f.mem, 0, SG_RING_BYTES);
	unmap(0);
	unmap(1);
	driver_up(SG_V1);
	post(0);
	assert_int_equal(ask(&(struct vduse_dev_request){.type = VDUSE_GET_VQ_STATE}), 0);
	assert_int_equal(answer.vq_state.state.avail_index, 1);
}

/* A queue that becomes ready after DRIVER_OK is found by its kick. */
static void test_ready_later(void **state)
{
	bound();
	ring(SG_V1);
	negotiate(SG_V1);
	vk.info[0].ready = 0;
	assert_int_equal(set_status(STATUS_OK), 0);
	post(0);
	assert_int_equal(completions(), 0);
	vk.info[0].ready = 1;
	post(1);
	assert_int_equal(completions(), 2);
	post(2);
	assert_int_equal(completions(), 1);
}

/* A DRIVER_OK that is refused can be said again, and leaves nothing of the one before. */
static void test_driver_ok_again(void **state)
{
	unsigned fds;

	bound();
	vk.info[1].num = 3; /* no size of a split ring */
	vk.info[1].ready = 1;
	ring(SG_V1);
	vk.info[0].ready = 0;
	negotiate(SG_V1);
	assert_int_equal(set_status(STATUS_OK), -EIO);
	fds = open_fds();
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(set_status(STATUS_OK), -EIO);
	run(20 * MS);
	assert_int_equal(open_fds(), fds);
	vk.info[1].ready = 0;
	vk.info[0].ready = 1;
	assert_int_equal(set_status(STATUS_OK), 0);
	post(0);
	assert_int_equal(completions(), 1);
}

static void test_config(void **state)
{
	bound();
	driver_up(SG_V1);
	assert_int_equal(vdpa_soft_config_set(&f.dev->soft, 4, "new", 3), 0);
	run(20 * MS);
	assert_memory_equal(vk.config + 4, "new", 3);
	assert_int_equal(vk.config_irqs, 1);
}

static void test_groups(void **state)
{
	struct hold_params params = {.ngroups = 2, .nas = 2};
	struct vduse_dev_request req = {.type = VDUSE_SET_VQ_GROUP_ASID,
					.vq_group_asid = {.group = 1, .asid = 1}};

	delete_device();
	make_device(&params);
	bound();
	assert_int_equal(vk.dev.ngroups, 2);
	assert_int_equal(vk.dev.nas, 2);
	assert_int_equal(vk.vq[1].group, 1);
	assert_int_equal(ask(&req), 0);
	req.vq_group_asid.group = 2;
	assert_int_equal(ask(&req), -EIO);
	req.vq_group_asid.group = 0;
	req.vq_group_asid.asid = 2;
	assert_int_equal(ask(&req), -EIO);
}

/* ---- memory ---- */

static void test_memory(void **state)
{
	bound();
	driver_up(SG_V1);
	post(0);
	assert_int_equal(completions(), 1);
	assert_int_equal(f.mem[SG_DATA], HOLD_FILL);
	/* What the kernel still has stays mapped, though it has no file any more to ask for. */
	assert_int_equal(update_iotlb(0, UINT64_MAX), 0);
	post(1);
	assert_int_equal(completions(), 1);
	/* Other memory at the same addresses: none of the old is written. */
	unmap(1);
	map(1, SG_IOVA + SG_DATA, SG_BYTES / 4, SG_DATA + SG_BYTES / 4);
	assert_int_equal(update_iotlb(0, UINT64_MAX), 0);
	post(2);
	assert_int_equal(completions(), 1);
	assert_int_equal(f.mem[SG_DATA + 2 * 4096], 0);
	assert_int_equal(f.mem[SG_DATA + SG_BYTES / 4 + 2 * 4096], HOLD_FILL);
	/* And an update waits for requests that use what goes. */
	f.dev->hold = true;
	post(3);
	assert_int_equal(f.dev->q[0].n, 1);
	unmap(1);
	vk_request(&(struct vduse_dev_request){.type = VDUSE_UPDATE_IOTLB,
					       .iova = {.last = UINT64_MAX}});
	run(20 * MS);
	assert_false(vk_answer(&answer));
	hold_release(f.dev, 0);
	for (int i = 0; i < 100 && !vk_answer(&answer); i++)
		run(MS);
	assert_int_equal(answer.request_id, vk.next_id);
	assert_int_equal(completions(), 1);
}

/* The kernel knows no such memory: nobody ever will. */
static void test_fault(void **state)
{
	bound();
	driver_up(SG_V1);
	unmap(1);
	post(0);
	assert_int_equal(completions(), 0);
	assert_true(vdpa_get_status(f.vdev) & VIRTIO_CONFIG_S_NEEDS_RESET);
	assert_true(logged("which is not mapped"));
	/* The next driver is asked for its own. */
	assert_int_equal(set_status(0), 0);
	virtqueue_free(f.vq);
	memset(f.mem, 0, SG_RING_BYTES);
	unmap(0);
	driver_up(SG_V1);
	post(0);
	assert_int_equal(completions(), 1);
}

/* ---- ends ---- */

static void test_broken(void **state)
{
	bound();
	driver_up(SG_V1);
	close(vk.peer);
	vk.peer = -1;
	run(20 * MS);
	assert_true(logged("msg_timeout"));
	assert_int_equal(unbind(), 0);
	assert_false(vk.created);
}

static void killed_with(uint64_t features)
{
	vk.driver = "vhost_vdpa";
	bound();
	node_is("/dev/vhost-vdpa-3");
	driver_up(features);
	post(0);
	assert_int_equal(completions(), 1);
	f.dev->hold = true;
	post(1);
	post(2);
	assert_int_equal(f.dev->q[0].n, 2);
	/* It lets go of a device that stays, as one that dies does. */
	vk.in_use = true;
	assert_int_equal(unbind(), -EBUSY);
	assert_true(vk.created && logged("open in another process"));
	delete_device();
	assert_int_equal(completions(), 0);
}

static void goes_on(uint64_t features)
{
	killed_with(features);
	vk.in_use = false;
	make_device(NULL);
	f.dev->hold = true;
	bound();
	run(20 * MS);
	assert_int_equal(vdpa_get_status(f.vdev), STATUS_OK);
	assert_int_equal(f.dev->q[0].n, 2);
	post(3);
	hold_release(f.dev, 0);
	run(20 * MS);
	assert_int_equal(completions(), 3);
	f.dev->hold = false;
	post(4);
	assert_int_equal(completions(), 1);
	assert_int_equal(unbind(), 0);
	assert_false(vk.created);
}

static void test_restart(void **state)
{
	goes_on(SG_V1);
}

static void test_restart_packed(void **state)
{
	goes_on(SG_V1 | VDPA_BIT(VIRTIO_F_RING_PACKED));
}

/* A device that is not the one of the log is not taken for it, nor is the log lost. */
static void test_restart_of_another(void **state)
{
	struct hold_params params = {.ngroups = 2, .nas = 2};

	killed_with(SG_V1);
	make_device(&params);
	assert_int_equal(bind_as(NULL, NULL), -EEXIST);
	says("is not this device's");
	delete_device();
	vk.in_use = false;
	make_device(NULL);
	bound();
	run(20 * MS);
	assert_int_equal(completions(), 2);
}

/* The kernel gave the driver's features up meanwhile: there is nothing to go on with. */
static void test_restart_after_a_reset(void **state)
{
	killed_with(SG_V1);
	vk.in_use = false;
	vk.driver_features = 0;
	make_device(NULL);
	bound();
	run(20 * MS);
	assert_int_equal(vdpa_get_status(f.vdev), 0);
	assert_int_equal(set_status(0), 0);
	assert_int_equal(completions(), 0);
}

static void test_log(void **state)
{
	struct fixture *fix = &f;
	char path[160];

	snprintf(path, sizeof(path), "%s/link", vk.root);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	snprintf(fix->log, sizeof(fix->log), "%s", path);
	assert_int_equal(bind_as(NULL, NULL), -ELOOP);
	says("name another");
	snprintf(fix->log, sizeof(fix->log), "%s", vk.root);
	assert_int_equal(bind_as(NULL, NULL), -EISDIR);
	assert_false(vk.created);
}

/* ---- a kernel that says no ---- */

/* Whichever ioctl of a bind fails: it does not come about, or does without; nothing is left. */
static void test_ioctl_of_bind_fails(void **state)
{
	unsigned fds, n = 0, refused = 0;

	bound();
	assert_int_equal(unbind(), 0);
	fds = open_fds();
	do {
		int ret;

		vk.failed = false;
		vk.fail_at = ++n;
		ret = bind_as(NULL, NULL);
		vk.fail_at = 0;
		assert_true(vk.failed || !ret);
		assert_true(!ret || f.err.msg[0]);
		refused += ret != 0;
		if (vdpa_device_driver(f.vdev))
			assert_int_equal(unbind(), 0);
		assert_false(vk.created);
		run(5 * MS);
		assert_int_equal(open_fds(), fds);
	} while (vk.failed);
	assert_true(refused > 3);
	bound();
	driver_up(SG_V1);
	post(0);
	assert_int_equal(completions(), 1);
}

/* And of a driver's life: a message is refused, or its request is completed; after a reset all is
 * well. */
static void test_ioctl_of_driver_fails(void **state)
{
	unsigned n = 0, refused = 0;

	bound();
	do {
		bool up;

		ring(SG_V1);
		vk.driver_features = SG_V1;
		vk.failed = false;
		vk.fail_at = ++n;
		up = !set_status(SG_ACK) && !set_status(STATUS_FEATURES) && !set_status(STATUS_OK);
		refused += !up;
		if (up) {
			post(0);
			/* What is refused once is asked for again. */
			assert_int_equal(completions(), 1);
		}
		vk.fail_at = 0;
		assert_int_equal(set_status(0), 0);
		unmap(0);
		unmap(1);
		assert_int_equal(update_iotlb(0, UINT64_MAX), 0);
		virtqueue_free(f.vq);
		f.vq = NULL;
		memset(f.mem, 0, SG_RING_BYTES);
	} while (vk.failed);
	assert_true(refused > 3);
	driver_up(SG_V1);
	post(0);
	assert_int_equal(completions(), 1);
}

/* ---- without memory ---- */

/* Begun or not, what does not come about leaves nothing in the kernel, and says why. */
static void test_alloc_bind(void **state)
{
	unsigned fds, begun = 0, refused = 0;

	bound();
	assert_int_equal(unbind(), 0);
	fds = open_fds();
	for (alloc_fail_begin(); alloc_fail_more();) {
		int ret = bind_as(NULL, NULL);

		alloc_fail_off();
		assert_true(alloc_fail_hit || !ret);
		assert_true(!ret || f.err.msg[0]);
		refused += ret != 0;
		if (vdpa_device_driver(f.vdev)) {
			assert_int_equal(unbind(), 0);
			begun += ret != 0;
		}
		assert_false(vk.created);
		run(5 * MS);
		assert_int_equal(open_fds(), fds);
	}
	assert_true(refused > 3 && begun);
	/* It is as good as new. */
	bound();
	driver_up(SG_V1);
	post(0);
	assert_int_equal(completions(), 1);
}

/* A driver's whole life: a message that there is no memory for is refused, a reset never. */
static void test_alloc_messages(void **state)
{
	unsigned refused = 0;

	bound();
	for (alloc_fail_begin(); alloc_fail_more();) {
		long round = alloc_fail_round;
		bool good;

		alloc_fail_off();
		ring(SG_V1);
		vk.driver_features = SG_V1;
		alloc_fail_countdown = round;
		good = !set_status(SG_ACK) && !set_status(STATUS_FEATURES) &&
		       !set_status(STATUS_OK);
		if (good)
			update_iotlb(0, UINT64_MAX);
		alloc_fail_off();
		assert_true(good || alloc_fail_hit);
		refused += !good;
		if (good && !alloc_fail_hit) {
			post(0);
			assert_int_equal(completions(), 1);
		}
		assert_int_equal(set_status(0), 0);
		unmap(0);
		unmap(1);
		assert_int_equal(update_iotlb(0, UINT64_MAX), 0);
		virtqueue_free(f.vq);
		f.vq = NULL;
		memset(f.mem, 0, SG_RING_BYTES);
	}
	assert_true(refused);
}

#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_create),
		T(test_older_kernel),
		T(test_missing),
		T(test_not_attached),
		T(test_status),
		T(test_messages),
		T(test_ready_later),
		T(test_driver_ok_again),
		T(test_config),
		T(test_groups),
		T(test_memory),
		T(test_fault),
		T(test_broken),
		T(test_restart),
		T(test_restart_packed),
		T(test_restart_of_another),
		T(test_restart_after_a_reset),
		T(test_log),
		T(test_ioctl_of_bind_fails),
		T(test_ioctl_of_driver_fails),
		T(test_alloc_bind),
		T(test_alloc_messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
