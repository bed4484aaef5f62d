// SPDX-License-Identifier: BSD-3-Clause
/* The classes that are built in: virtio comes to the vDPA bus, vfio to a socket. */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/vfio.h>
#include <uvdpa/mdev_class.h>
#include <uvdpa/vhost_iotlb.h>
#include "mock.h"
#include "uvdpa-config.h"

#define U1 "11111111-1111-1111-1111-111111111111"
#define U2 "22222222-2222-2222-2222-222222222222"

static struct vdpa_ctx *ctx;
static struct vdpa_error err;
static bool no_id, wrong_ops;
static char folder[] = "/tmp/uvdpa-mdev-XXXXXX";

/* ---- a parent with a type of each class ---- */

static uint32_t id_zero(struct vdpa_device *vdev)
{
	return 0;
}

static int toy_add(struct mdev_device *mdev, const char *name, struct vdpa_device **out,
		   struct vdpa_error *e)
{
	static struct vdpa_config_ops ops;
	struct mock *m;

	ops = mock_bare_ops;
	if (no_id)
		ops.get_device_id = id_zero;
	if (wrong_ops)
		ops.get_device_features = NULL;
	m = vdpa_alloc_device(mdev->ctx, struct mock, vdpa, &ops, mdev->parent->name, 1, 1, name,
			      false, e);
	if (!m)
		return -EINVAL;
	*out = &m->vdpa;
	return vdpa_register_device(&m->vdpa, MOCK_VQS, e);
}

static const struct mdev_virtio_ops virtio_ops = {.size = sizeof(virtio_ops), .add = toy_add};

struct card {
	struct mdev_device mdev;
	uint8_t regs[16];
	struct vdpa_region *mem; /* the client's; what is in it reads at 8 */
	struct vfio_user_server *srv;
	unsigned closed;
};

static struct card *to_card(void *mdev)
{
	return (struct card *)(void *)((char *)mdev - offsetof(struct card, mdev));
}

static int card_map(void *arg, const struct vfio_user_dma *dma, const struct vdpa_done *done)
{
	to_card(arg)->mem = dma->region;
	vdpa_done_call(done, 0);
	return 0;
}

static int card_unmap(void *arg, iova_t iova, uint64_t size, const struct vdpa_done *done)
{
	to_card(arg)->mem = NULL;
	vdpa_done_call(done, 0);
	return 0;
}

static int card_read(void *arg, unsigned region, uint64_t off, void *buf, size_t len,
		     const struct vdpa_done *done)
{
	struct card *card = to_card(arg);

	if (off >= 8 && !card->mem)
		return -EFAULT;
	memcpy(buf, off >= 8 ? (uint8_t *)vdpa_region_base(card->mem) + off - 8 : card->regs + off,
	       len);
	vdpa_done_call(done, 0);
	return 0;
}

static int card_write(void *arg, unsigned region, uint64_t off, const void *buf, size_t len,
		      const struct vdpa_done *done)
{
	memcpy(to_card(arg)->regs + off, buf, len);
	vfio_user_irq_trigger(to_card(arg)->srv, 0, 0);
	vdpa_done_call(done, 0);
	return 0;
}

static const struct vfio_user_ops card_ops = {
	.size = sizeof(card_ops),
	.dma_map = card_map,
	.dma_unmap = card_unmap,
	.region_read = card_read,
	.region_write = card_write,
};

static int card_describe(struct mdev_device *mdev, struct vfio_user_config *config,
			 struct vdpa_error *e)
{
	static const struct vfio_user_region region = {
		.size = 16,
		.flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE,
		.fd = -1,
	};
	static const struct vfio_user_irqs irqs = {.count = 1, .flags = VFIO_IRQ_INFO_EVENTFD};

	config->regions = &region;
	config->nregions = 1;
	config->irqs = &irqs;
	config->nirqs = 1;
	config->ops = &card_ops;
	return 0;
}

static void card_open(struct mdev_device *mdev, struct vfio_user_server *srv)
{
	to_card(mdev)->srv = srv;
}

static void card_close(struct mdev_device *mdev, const struct vdpa_done *done)
{
	to_card(mdev)->srv = NULL;
	to_card(mdev)->closed++;
	vdpa_done_call(done, 0);
}

static const struct mdev_vfio_ops vfio_ops = {
	.size = sizeof(vfio_ops),
	.describe = card_describe,
	.open = card_open,
	.close = card_close,
};

static int toy_create(struct mdev_device *mdev, struct vdpa_error *e)
{
	static const struct mdev_virtio_ops small = {.size = 1};

	if (!strcmp(mdev->type->id, "bad"))
		return mdev_set_virtio_ops(mdev, &small);
	if (!strcmp(mdev->type->id, "virtio"))
		return mdev_set_virtio_ops(mdev, &virtio_ops);
	return mdev_set_vfio_ops(mdev, &vfio_ops);
}

static const struct mdev_type types[] = {
	{.id = "virtio", .device_api = "virtio-mdev", .instances = 9},
	{.id = "card", .device_api = "vfio-pci", .instances = 9},
	{.id = "bad", .device_api = "virtio-mdev", .instances = 9},
	{0},
};
static const struct mdev_parent_ops ops = {
	.size = sizeof(ops),
	.device_size = sizeof(struct mdev_device),
	.struct_size = sizeof(struct card),
	.offset = offsetof(struct card, mdev),
	.create = toy_create,
};
static struct mdev_parent parent;

static int setup(void **state)
{
	no_id = wrong_ops = false;
	parent = (struct mdev_parent){.name = "toy", .ops = &ops, .types = types};
	ctx = mock_ctx();
	assert_int_equal(mdev_register_classes(ctx), 0);
	assert_int_equal(mdev_register_parent(ctx, &parent, &err), 0);
	assert_int_equal(vdpa_register_driver(ctx, &mock_driver), 0);
	mock_driver_reset();
	return 0;
}

static int teardown(void **state)
{
	return vdpa_ctx_free(ctx);
}

static struct mdev_device *make(unsigned type, const char *uuid)
{
	struct mdev_device *mdev = NULL;

	assert_int_equal(
		mdev_create(&(struct mdev_request){&parent, &types[type], uuid, NULL}, &mdev, &err),
		0);
	return mdev;
}

/* ---- virtio ---- */

static void virtio_comes_to_the_vdpa_bus(void **state)
{
	struct mdev_device *mdev = make(0, U1);
	struct vdpa_device *vdev = vdpa_find_device(ctx, U1);

	assert_string_equal(mdev_modalias(mdev).s, "mdev_virtio:c01");
	assert_string_equal(mdev_device_driver(mdev)->name, "virtio_mdev");
	assert_non_null(vdev);
	assert_ptr_equal(mdev_virtio_vdpa(mdev), vdev);
	assert_ptr_equal(mdev_get_virtio_ops(mdev), &virtio_ops);
	assert_null(mdev_get_vfio_ops(mdev));
	assert_string_equal(vdev->dma_device, "toy");
	assert_int_equal(mdev_bind(mdev, "vfio_mdev", NULL, &err), -EBUSY);
	assert_int_equal(mdev_unbind(mdev, NULL), 0);
	assert_null(vdpa_find_device(ctx, U1));
	assert_int_equal(mdev_bind(mdev, "virtio_mdev", NULL, &err), 0);
	assert_non_null(vdpa_find_device(ctx, U1));
	mdev_remove(mdev, NULL);
	assert_null(vdpa_find_device(ctx, U1));
}

static void removal_while_a_bus_driver_has_it(void **state)
{
	struct mdev_device *mdev = make(0, U1);
	struct vdpa_device *vdev = vdpa_find_device(ctx, U1);

	assert_int_equal(vdpa_bind(vdev, mock_driver.name, NULL, &err), 0);
	mock_driver_state.hold = true;
	assert_int_equal(mdev_remove(mdev, NULL), 0);
	assert_ptr_equal(mdev_find(ctx, U1), mdev);
	assert_int_equal(
		mdev_create(&(struct mdev_request){&parent, &types[0], U1, NULL}, NULL, &err),
		-EEXIST);
	mock_driver_let_go(0);
	assert_null(mdev_find(ctx, U1));
	assert_null(vdpa_find_device(ctx, U1));
}

static void what_is_no_virtio_device_stays_unbound(void **state)
{
	struct mdev_device *mdev;

	no_id = true;
	mdev = make(0, U1);
	assert_null(mdev_device_driver(mdev));
	assert_null(vdpa_find_device(ctx, U1));
	assert_int_equal(mdev_bind(mdev, "virtio_mdev", NULL, &err), -ENODEV);
	no_id = false;
	wrong_ops = true;
	assert_int_equal(mdev_bind(mdev, "virtio_mdev", NULL, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "get_device_features"));
	mdev_remove(mdev, NULL);
	assert_int_equal(
		mdev_create(&(struct mdev_request){&parent, &types[2], U1, NULL}, NULL, &err),
		-EINVAL);
}

static bool find_vhost(void *arg, const struct mdev_driver *drv)
{
	for (const uint16_t *id = drv->id_table; *id; id++)
		assert_int_not_equal(*id, MDEV_CLASS_ID_VHOST);
	return true;
}

static void vhost_is_reserved(void **state)
{
	const struct mdev_class *class = NULL;

	assert_string_equal(mdev_bus_of(ctx, MDEV_CLASS_ID_VHOST, &class)->name, "mdev_virtio");
	assert_string_equal(class->help, "reserved");
	mdev_for_each_driver(ctx, find_vhost, NULL);
}

/* ---- vfio ---- */

#ifdef VDPA_HAVE_VFIO_USER
struct visit {
	char path[128];
	_Atomic bool over;
	struct vfio_user_device_info info;
	uint32_t word;
	bool gone;
	struct vfio_user_client *c;
};

static void *visit(void *arg)
{
	struct visit *v = arg;
	struct vdpa_error e;

	if (!v->c && vfio_user_client_new(v->path, 5000000000ull, &v->c, &e))
		return NULL;
	v->gone = vfio_user_get_info(v->c, &v->info) != 0;
	if (!v->gone) {
		uint32_t word = 0x12345678;

		vfio_user_region_write(v->c, 0, 4, &word, 4);
		vfio_user_region_read(v->c, 0, 4, &v->word, 4);
	}
	v->over = true;
	return NULL;
}

/* The client in a thread of its own, the server here. */
static void run_client(struct visit *v, void *(*fn)(void *arg))
{
	pthread_t thread;

	v->over = false;
	assert_int_equal(pthread_create(&thread, NULL, fn, v), 0);
	for (int i = 0; !v->over && i < 3000; i++)
		vdpa_loop_run_once(vdpa_ctx_control(ctx), 10000000);
	pthread_join(thread, NULL);
	assert_true(v->over);
}

static void run_visit(struct visit *v)
{
	run_client(v, visit);
}

static void on_removed(void *arg, int result)
{
	*(bool *)arg = true;
}

static void vfio_is_served_on_a_socket(void **state)
{
	struct mdev_device *mdev = make(1, U1), *second;
	bool removed = false;
	const struct vdpa_done done = {on_removed, &removed};
	struct visit v = {.over = false};
	struct vdpa_attr attrs[] = {{"path", v.path}, {NULL, NULL}};

	assert_string_equal(mdev_modalias(mdev).s, "mdev:c03");
	assert_null(mdev_device_driver(mdev)); /* there is no folder */
	assert_int_equal(mdev_bind(mdev, "vfio_mdev", NULL, &err), -EDESTADDRREQ);
	assert_int_equal(mdev_bind(mdev, "virtio_mdev", NULL, &err), -ENXIO);
	snprintf(v.path, sizeof(v.path), "%s/it", folder);
	assert_int_equal(mdev_bind(mdev, "vfio_mdev", attrs, &err), 0);
	run_visit(&v);
	assert_int_equal(v.info.nregions, 1);
	assert_int_equal(v.word, 0x12345678);
	/* It goes while the client has it. */
	assert_int_equal(mdev_remove(mdev, &done), 0);
	assert_int_equal(vdpa_ctx_wait(ctx, &removed, 5000000000), 0);
	run_visit(&v);
	assert_true(v.gone);
	assert_int_not_equal(access(v.path, F_OK), 0);
	vfio_user_client_free(v.c);

	assert_int_equal(mdev_vfio_set_folder(ctx, folder), 0);
	second = make(1, U2);
	assert_string_equal(mdev_device_driver(second)->name, "vfio_mdev");
	v = (struct visit){.over = false};
	snprintf(v.path, sizeof(v.path), "%s/%s.sock", folder, U2);
	run_visit(&v);
	assert_int_equal(v.word, 0x12345678);
	vfio_user_client_free(v.c);
	removed = false;
	assert_int_equal(mdev_remove(second, &done), 0);
	assert_int_equal(vdpa_ctx_wait(ctx, &removed, 5000000000), 0);
	assert_int_equal(mdev_vfio_set_folder(ctx, NULL), 0);
}
/* ---- parents of other kinds, that have nothing but the class's callbacks ---- */

#define PARENTS 3u

/* As Linux's, by their device_api: a GPU's share, a channel I/O device, an adjunct processor. */
static const struct mdev_type gpu_types[] = {
	{.id = "gpu", .device_api = "vfio-pci", .instances = 1}, {0}};
static const struct mdev_type ccw_types[] = {{.id = "io", .device_api = "vfio-ccw", .instances = 1},
					     {0}};
static const struct mdev_type ap_types[] = {{.id = "ap", .device_api = "vfio-ap", .instances = 1},
					    {0}};
static const char *const vfio_uuids[PARENTS] = {"33333333-0000-0000-0000-000000000000",
						"33333333-0000-0000-0000-000000000001",
						"33333333-0000-0000-0000-000000000002"};

/* As with a container of type 1: pieces do not overlap, and go as they came. */
static void use_container(struct vfio_user_client *c, const struct vfio_user_mem *mem)
{
	struct vfio_user_mem other = *mem;
	uint64_t word = 0;

	assert_int_equal(vfio_user_region_read(c, 0, 8, &word, 8), -EFAULT);
	assert_int_equal(vfio_user_dma_map(c, mem), 0);
	assert_int_equal(vfio_user_region_read(c, 0, 8, &word, 8), 0);
	assert_memory_equal(&word, mem->mem, 8);
	other.iova += 4096;
	assert_int_equal(vfio_user_dma_map(c, &other), -EEXIST);
	assert_int_equal(vfio_user_dma_unmap(c, mem->iova, 4096), -ENOENT);
	assert_int_equal(vfio_user_dma_unmap(c, mem->iova + 4096, 4096), -ENOENT);
	assert_int_equal(vfio_user_dma_unmap(c, mem->iova, mem->size), 0);
	assert_int_equal(vfio_user_region_read(c, 0, 8, &word, 8), -EFAULT);
}

/* All devices have a client at the same time; each has memory of its own at the same address. */
static void *use_all(void *arg)
{
	struct vfio_user_client *c[PARENTS] = {NULL};
	struct vfio_user_mem mem = {.iova = 0x100000, .size = 8192, .perm = VHOST_MAP_RW};
	struct visit *v = arg;
	char path[128];

	for (unsigned i = 0; i < PARENTS; i++) {
		snprintf(path, sizeof(path), "%s/%s.sock", folder, vfio_uuids[i]);
		assert_int_equal(vfio_user_client_new(path, 20000000000ull, &c[i], NULL), 0);
	}
	for (unsigned i = 0; i < PARENTS; i++) {
		mem.fd = memfd_create("container", MFD_CLOEXEC);
		assert_int_equal(ftruncate(mem.fd, (off_t)mem.size), 0);
		mem.mem = mmap(NULL, mem.size, PROT_READ | PROT_WRITE, MAP_SHARED, mem.fd, 0);
		assert_true(mem.mem != MAP_FAILED);
		memset(mem.mem, 'a' + (int)i, mem.size);
		use_container(c[i], &mem);
		munmap(mem.mem, mem.size);
		close(mem.fd);
	}
	for (unsigned i = 0; i < PARENTS; i++)
		vfio_user_client_free(c[i]);
	v->over = true;
	return NULL;
}

static void parents_with_vfio_alone(void **state)
{
	static const struct mdev_type *const tables[PARENTS] = {gpu_types, ccw_types, ap_types};
	static const char *const names[PARENTS] = {"gpu", "css", "matrix"};
	struct mdev_parent p[PARENTS];
	struct mdev_device *mdev;
	struct visit v = {.over = false};
	bool removed = false;

	assert_int_equal(mdev_vfio_set_folder(ctx, folder), 0);
	for (unsigned i = 0; i < PARENTS; i++) {
		p[i] = (struct mdev_parent){.name = names[i], .ops = &ops, .types = tables[i]};
		assert_int_equal(mdev_register_parent(ctx, &p[i], &err), 0);
		assert_int_equal(
			mdev_create(&(struct mdev_request){&p[i], tables[i], vfio_uuids[i], NULL},
				    &mdev, &err),
			0);
		assert_int_equal(mdev_class_id(mdev), MDEV_CLASS_ID_VFIO);
		assert_null(mdev_get_virtio_ops(mdev));
		assert_string_equal(mdev_device_driver(mdev)->name, "vfio_mdev");
	}
	run_client(&v, use_all);
	for (unsigned i = 0; i < PARENTS; i++) {
		removed = false;
		mdev_unregister_parent(&p[i], &(struct vdpa_done){on_removed, &removed});
		assert_int_equal(vdpa_ctx_wait(ctx, &removed, 20000000000), 0);
		assert_null(mdev_find(ctx, vfio_uuids[i]));
	}
	assert_int_equal(mdev_vfio_set_folder(ctx, NULL), 0);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
		T(virtio_comes_to_the_vdpa_bus),
		T(removal_while_a_bus_driver_has_it),
		T(what_is_no_virtio_device_stays_unbound),
		T(vhost_is_reserved),
#ifdef VDPA_HAVE_VFIO_USER
		T(vfio_is_served_on_a_socket),
		T(parents_with_vfio_alone),
#endif
	};
	int r;

	if (!mkdtemp(folder))
		return 1;
	r = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(folder);
	return r;
}
