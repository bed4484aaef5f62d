// SPDX-License-Identifier: BSD-3-Clause
/*
 * One disk, bound to one bus driver after the other and never created anew: in process, behind
 * vhost-user, as a character device, as a PCI device. Each user finds what the one before it wrote,
 * writes, and is unbound with requests in flight. Nothing is left of any of them: memory,
 * descriptors, threads. UVDPA_TEST_ROUNDS times as often.
 */
#include <malloc.h>

#include "disk.h"
#include "pci_front.h"
#include "virtio_rig.h"

/* Each is four rebinds. */
#define TURNS 5u
#define WARM_UP 2u
/* Of memory, that a whole run may keep (tables that grow to what they need). */
#define SLACK_BYTES 65536u

static struct vdpa_ctx *ctx; /* the daemon's */
static struct vdpa_device *disk;
static struct vdpa_ctx *client;
static pthread_t thread;
static char path[64];
static uint8_t pattern;

/* ---- the daemon ---- */

static void *daemon_run(void *arg)
{
	vdpa_loop_run(vdpa_ctx_control(ctx));
	return NULL;
}

static void daemon_go(void)
{
	assert_int_equal(pthread_create(&thread, NULL, daemon_run, NULL), 0);
}

/* Its control loop is this thread's from here on. */
static void daemon_hold(void)
{
	vdpa_loop_stop(vdpa_ctx_control(ctx));
	pthread_join(thread, NULL);
	vdpa_loop_run_once(vdpa_ctx_control(ctx), 0);
}

static void bind_to(const char *driver)
{
	struct vdpa_attr attrs[] = {{"path", path}, {0}};
	struct vdpa_error err = {0};

	if (vdpa_bind(disk, driver, strcmp(driver, "virtio-vdpa") ? attrs : NULL, &err))
		fail_msg("%s: %s", driver, err.msg);
}

static void unbind(void)
{
	bool done = false;

	assert_int_equal(vdpa_unbind(disk, &(struct vdpa_done){set_flag, &done}), 0);
	assert_int_equal(vdpa_ctx_wait(ctx, &done, 20000000000), 0);
}

/* ---- what each user does ---- */

static struct load {
	struct virtio_blk_request req[8];
	struct virtqueue_sg sg[8];
} load;

static void load_done(struct virtio_blk_request *req, int result)
{
}

/* Sectors 1024 and up are for what is in flight when it ends. */
static void leave_in_flight(struct virtio_device *dev)
{
	struct virtio_blk *blk = virtio_blk_of(dev);
	iova_t iova;

	assert_non_null(virtio_mem_alloc(dev, 8 * 4096, &iova));
	for (unsigned i = 0; i < 8; i++) {
		load.sg[i] = (struct virtqueue_sg){iova + i * 4096, 4096};
		load.req[i] = (struct virtio_blk_request){
			.type = i % 2 ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN,
			.sector = 1024 + i * 8,
			.sg = &load.sg[i],
			.nsg = 1,
			.done = load_done,
		};
		assert_int_equal(virtio_blk_submit(blk, 0, &load.req[i]), 0);
	}
	virtio_blk_kick(blk, 0);
}

static void use(struct virtio_device *dev, struct vdpa_ctx *of)
{
	uint8_t expect[32768], got[32768];
	struct virtio_blk *blk;

	fake_until(of,
		   virtio_driver_name(dev) && virtio_get_status(dev) & VIRTIO_CONFIG_S_DRIVER_OK);
	blk = virtio_blk_of(dev);
	fill_pattern(expect, sizeof(expect), pattern);
	if (pattern) {
		assert_int_equal(virtio_blk_read(blk, 8, got, sizeof(got)), 0);
		assert_memory_equal(got, expect, sizeof(got));
	}
	fill_pattern(expect, sizeof(expect), ++pattern);
	assert_int_equal(virtio_blk_write(blk, 8, expect, sizeof(expect)), 0);
	leave_in_flight(dev);
}

static void in_process(void)
{
	bind_to("virtio-vdpa");
	use(virtio_vdpa_device(disk), ctx);
	unbind();
}

static void over_vhost_user(void)
{
	struct vhost_user_frontend_config config = {.path = path, .device_id = VIRTIO_ID_BLOCK};
	struct virtio_device *dev;

	bind_to("vhost-user");
	daemon_go();
	assert_int_equal(front_connect(client, &config, &dev), 0);
	use(dev, client);
	daemon_hold();
	unbind();
	front_free(client, dev);
}

static void over_pci(void)
{
	struct pci_front_config config = {.path = path};
	struct vdpa_error err = {0};
	struct virtio_device *dev;
	bool done = false;

	bind_to("virtio-pci");
	daemon_go();
	if (pci_front_new(client, &config, &dev, &err))
		fail_msg("%s", err.msg);
	use(dev, client);
	daemon_hold();
	unbind();
	pci_front_free(dev, &(struct vdpa_done){set_flag, &done});
	fake_until(client, done);
}

/* Opened and driven as a program does it that has no driver of the virtio bus. */
static void cdev_open(struct disk *d)
{
	uint64_t want = VDPA_BIT(VIRTIO_F_VERSION_1) | VDPA_BIT(VIRTIO_F_ACCESS_PLATFORM);
	uint32_t id = 0;

	disk_init(d);
	assert_int_equal(cdev_client_open(&d->c, path), 0);
	assert_int_equal(do_ioctl(&d->c, VHOST_SET_OWNER, NULL, 0), 0);
	assert_int_equal(do_ioctl(&d->c, VHOST_VDPA_GET_DEVICE_ID, &id, sizeof(id)), 0);
	assert_int_equal(id, VIRTIO_ID_BLOCK);
	set64(&d->c, VHOST_SET_BACKEND_FEATURES, get64(&d->c, VHOST_GET_BACKEND_FEATURES));
	assert_true(message(&d->c, VHOST_IOTLB_UPDATE, BASE, MEM_BYTES) > 0);
	assert_int_equal(set_status(&d->c, 3), 0);
	assert_int_equal(set64(&d->c, VHOST_SET_FEATURES, want), 0);
	assert_int_equal(set_status(&d->c, 11), 0);
	assert_int_equal(ring_up(d, want), 0);
	assert_int_equal(set_status(&d->c, 15), 0);
}

static void as_character_device(void)
{
	uint8_t expect[32768];
	struct disk d;

	bind_to("vhost-vdpa");
	daemon_go();
	cdev_open(&d);
	fill_pattern(expect, sizeof(expect), pattern);
	assert_int_equal(request(&d, VIRTIO_BLK_T_IN, 8, sizeof(expect) / 512), 0);
	assert_memory_equal(d.io + PAGE, expect, sizeof(expect));
	fill_pattern(d.io + PAGE, sizeof(expect), ++pattern);
	assert_int_equal(request(&d, VIRTIO_BLK_T_OUT, 8, sizeof(expect) / 512), 0);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(disk_submit(&d, i % 2 ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN,
					     1024 + i * 8, 8),
				 0);
	daemon_hold();
	unbind();
	disk_close(&d);
}

/* ---- the turns ---- */

static unsigned rounds(void)
{
	const char *text = getenv("UVDPA_TEST_ROUNDS");
	int n = text ? atoi(text) : 1;

	return n > 0 ? (unsigned)n : 1;
}

static unsigned threads_now(void)
{
	DIR *dir = opendir("/proc/self/task");
	unsigned n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static void turn(void)
{
	in_process();
	over_vhost_user();
	as_character_device();
	over_pci();
}

static void test_rebind(void **state)
{
	size_t bytes = 0;
	unsigned fds = 0, threads = 0;

	for (unsigned i = 0; i < WARM_UP + TURNS * rounds(); i++) {
		if (i == WARM_UP) {
			fds = open_fds();
			threads = threads_now();
			bytes = mallinfo2().uordblks;
		}
		turn();
	}
	assert_int_equal(open_fds(), fds);
	assert_int_equal(threads_now(), threads);
	if (bytes) /* a sanitizer has an allocator of its own, and says itself what is lost */
		assert_true(mallinfo2().uordblks <= bytes + SLACK_BYTES);
	print_message("%u rebinds\n", 4 * TURNS * rounds());
}

static int setup(void **state)
{
	struct vdpa_attr attrs[] = {{"backend", "ram"}, {"size", "1M"}, {0}};
	struct vdpa_ctx_config config = {.size = sizeof(config), .workers = 1};

	assert_int_equal(mem_new(), 0);
	snprintf(path, sizeof(path), "/tmp/uvdpa-rebind-%d.sock", getpid());
	assert_int_equal(vdpa_ctx_new(&config, &ctx), 0);
	assert_int_equal(vdpa_register_builtin(ctx), 0);
	assert_int_equal(back_device(ctx, "soft_blk", attrs, &disk), 0);
	assert_int_equal(vdpa_ctx_new(NULL, &client), 0);
	return 0;
}

static int teardown(void **state)
{
	bool done = false;

	assert_int_equal(vdpa_dev_del(disk, &(struct vdpa_done){set_flag, &done}, NULL), 0);
	assert_int_equal(vdpa_ctx_wait(ctx, &done, 10000000000), 0);
	fake_until(ctx, vdpa_ctx_free(ctx) == 0);
	fake_until(client, vdpa_ctx_free(client) == 0);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_rebind, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
