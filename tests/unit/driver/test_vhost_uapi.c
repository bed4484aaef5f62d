// SPDX-License-Identifier: BSD-3-Clause
/* The bytes of /dev/vhost-vdpa-N: sizes, errors, what reaches the device. */
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <uvdpa/compat.h>
#include <uvdpa/vhost_uapi.h>
#include "../vdpa/mock.h"
#include "alloc_fail.h"

#define PAGE 4096ull
#define USER 0x10000ull

struct fixture {
	struct vdpa_ctx *ctx;
	struct mock *m;
	struct vhost_vdpa *v;
	struct vdpa_region *region;
	uint8_t *mem;
	struct counted_done done;
};

static int resolve(void *arg, uint64_t uaddr, uint64_t size, struct vhost_vdpa_piece *piece)
{
	struct fixture *f = arg;

	if (uaddr < USER || uaddr >= USER + 16 * PAGE)
		return -EFAULT;
	*piece = (struct vhost_vdpa_piece){f->region, uaddr - USER, USER + 16 * PAGE - uaddr};
	if (piece->size > size)
		piece->size = size;
	return 0;
}

static void spin(struct fixture *f)
{
	for (int i = 0; i < 20; i++)
		vdpa_loop_run_once(vdpa_ctx_control(f->ctx), 0);
}

static void begin(struct fixture *f)
{
	struct vhost_vdpa_params params = {.size = sizeof(params), .resolve = resolve, .arg = f};

	memset(f, 0, sizeof(*f));
	f->ctx = mock_ctx();
	f->m = mock_new(f->ctx, "m0", &mock_ops);
	assert_int_equal(vdpa_register_device(&f->m->vdpa, MOCK_VQS, NULL), 0);
	f->mem = calloc(16, PAGE);
	assert_int_equal(vdpa_region_wrap(f->mem, 16 * PAGE, 0, &f->region), 0);
	assert_int_equal(vhost_vdpa_new(&f->m->vdpa, &params, &f->v), 0);
	assert_int_equal(vhost_vdpa_open(f->v, NULL), 0);
}

static void end(struct fixture *f)
{
	struct counted_done count = {0};
	struct vdpa_done done = counted_done(&count);

	assert_int_equal(vhost_vdpa_release(f->v, NULL), 0);
	spin(f);
	vhost_vdpa_free(f->v);
	vdpa_region_put(f->region);
	free(f->mem);
	assert_int_equal(vdpa_unregister_device(&f->m->vdpa, &done), 0);
	spin(f);
	assert_int_equal(vdpa_ctx_free(f->ctx), 0);
}

static int do_ioctl(struct fixture *f, uint32_t cmd, void *arg, size_t bytes, int fd)
{
	struct vhost_uapi_call call = {
		.size = sizeof(call), .cmd = cmd, .arg = arg, .arg_bytes = bytes, .fd = fd};
	struct counted_done count = {0};
	int err;

	call.done = counted_done(&count);
	err = vhost_uapi_ioctl(f->v, &call);
	spin(f);
	assert_int_equal(count.calls, err ? 0 : 1);
	assert_int_equal(call.fd, -1);
	return err ? err : count.result;
}

static int state_ioctl(struct fixture *f, uint32_t cmd, uint32_t index, uint32_t *num)
{
	struct vhost_vring_state s = {.index = index, .num = *num};
	int err = do_ioctl(f, cmd, &s, sizeof(s), -1);

	*num = s.num;
	return err;
}

static void test_sizes(void **state)
{
	struct vhost_uapi_size size;
	uint32_t config[2] = {0, 60};
	uint64_t count = 2;

	assert_int_equal(vhost_uapi_size(VHOST_GET_FEATURES, NULL, 0, &size), 0);
	assert_true(size.in == 0 && size.out == 8 && !size.more && size.fd_at == -1);
	assert_int_equal(vhost_uapi_size(VHOST_SET_VRING_KICK, NULL, 0, &size), 0);
	assert_true(size.in == 8 && size.out == 0 && size.fd_at == 4);
	assert_int_equal(vhost_uapi_size(VHOST_VDPA_SET_CONFIG_CALL, NULL, 0, &size), 0);
	assert_true(size.in == 4 && size.fd_at == 0);

	assert_int_equal(vhost_uapi_size(VHOST_VDPA_GET_CONFIG, NULL, 0, &size), 0);
	assert_true(size.in == 8 && size.more);
	assert_int_equal(vhost_uapi_size(VHOST_VDPA_GET_CONFIG, config, 8, &size), 0);
	assert_true(size.in == 8 && size.out == 68 && !size.more);
	assert_int_equal(vhost_uapi_size(VHOST_VDPA_SET_CONFIG, config, 8, &size), 0);
	assert_true(size.in == 68 && size.out == 0);
	config[1] = UINT32_MAX;
	assert_int_equal(vhost_uapi_size(VHOST_VDPA_SET_CONFIG, config, 8, &size), -EINVAL);
	assert_int_equal(vhost_uapi_size(_IOR(VHOST_VIRTIO, 0x83, uint64_t), &count, 8, &size), 0);
	assert_int_equal(size.out, 24);
	count = UINT64_MAX;
	assert_int_equal(vhost_uapi_size(_IOW(VHOST_VIRTIO, 0x83, uint64_t), &count, 8, &size),
			 -E2BIG);

	assert_int_equal(vhost_uapi_size(VHOST_SET_LOG_BASE, NULL, 0, &size), -ENOTTY);
	assert_int_equal(vhost_uapi_size(VHOST_SET_MEM_TABLE, NULL, 0, &size), -ENOTTY);
	assert_int_equal(vhost_uapi_size(0, NULL, 0, &size), -ENOTTY);
}

/* Whatever the bytes are, the sizes stay within the bound and no call reads past its argument. */
static void test_any_number(void **state)
{
	struct fixture f;
	uint8_t arg[VHOST_UAPI_ARG_MAX];
	struct vhost_uapi_size size;

	begin(&f);
	for (unsigned nr = 0; nr < 256; nr++) {
		for (unsigned dir = 0; dir < 4; dir++) {
			for (unsigned bytes = 0; bytes < 64; bytes += 4) {
				uint32_t cmd = _IOC(dir, VHOST_VIRTIO, nr, bytes);

				memset(arg, (int)(nr + bytes), sizeof(arg));
				if (vhost_uapi_size(cmd, arg, sizeof(arg), &size))
					continue;
				assert_true(size.in <= sizeof(arg) && size.out <= sizeof(arg));
				do_ioctl(&f, cmd, arg, sizeof(arg), -1);
				/* Too little of it. */
				if (size.in || size.out)
					assert_int_equal(do_ioctl(&f, cmd, NULL, 0, -1), -EINVAL);
			}
		}
	}
	end(&f);
}

static void test_device(void **state)
{
	struct fixture f;
	uint8_t config[8 + MOCK_CONFIG_BYTES + 1] = {0};
	uint32_t len = MOCK_CONFIG_BYTES, word = 0;
	uint64_t features = 0, array[3] = {2, 0, 0};
	uint8_t status = 1;

	begin(&f);
	assert_int_equal(do_ioctl(&f, VHOST_VDPA_GET_DEVICE_ID, &word, 4, -1), 0);
	assert_int_equal(word, vhost_vdpa_get_device_id(f.v));
	assert_int_equal(do_ioctl(&f, VHOST_GET_FEATURES, &features, 8, -1), 0);
	assert_int_equal(features, f.m->offered);
	array[1] = array[2] = UINT64_MAX;
	assert_int_equal(do_ioctl(&f, _IOR(VHOST_VIRTIO, 0x83, uint64_t), array, 24, -1), 0);
	assert_true(array[0] == 2 && array[1] == f.m->offered && array[2] == 0);
	array[2] = 1;
	assert_int_equal(do_ioctl(&f, _IOW(VHOST_VIRTIO, 0x83, uint64_t), array, 24, -1), -EINVAL);
	array[2] = 0;
	assert_int_equal(do_ioctl(&f, _IOW(VHOST_VIRTIO, 0x83, uint64_t), array, 24, -1), 0);
	assert_int_equal(f.m->driver_features, f.m->offered);

	memcpy(config + 4, &len, 4);
	memset(f.m->config, 0x5a, sizeof(f.m->config));
	assert_int_equal(do_ioctl(&f, VHOST_VDPA_GET_CONFIG, config, 8 + len, -1), 0);
	/* The mock's last byte never comes, and nothing else in its place. */
	assert_memory_equal(config + 8, f.m->config, len - 1);
	assert_int_equal(config[8 + len - 1], 0);
	len++;
	memcpy(config + 4, &len, 4);
	assert_int_equal(do_ioctl(&f, VHOST_VDPA_GET_CONFIG, config, 8 + len, -1), -EINVAL);

	assert_int_equal(do_ioctl(&f, VHOST_VDPA_SET_STATUS, &status, 1, -1), 0);
	status = 0;
	assert_int_equal(do_ioctl(&f, VHOST_VDPA_GET_STATUS, &status, 1, -1), 0);
	assert_int_equal(status, 1);
	status = 0;
	assert_int_equal(do_ioctl(&f, VHOST_VDPA_SET_STATUS, &status, 1, -1), 0);
	assert_int_equal(f.m->resets, 2);
	end(&f);
}

static void test_vrings(void **state)
{
	struct fixture f;
	struct vhost_vring_file file = {.index = 0, .fd = 99};
	uint32_t num = 64;

	begin(&f);
	/* Nothing of a vring before there is an owner. */
	assert_int_equal(state_ioctl(&f, VHOST_SET_VRING_NUM, 0, &num), -EPERM);
	assert_int_equal(do_ioctl(&f, VHOST_SET_OWNER, NULL, 0, -1), 0);
	assert_int_equal(do_ioctl(&f, VHOST_SET_OWNER, NULL, 0, -1), -EBUSY);
	assert_int_equal(state_ioctl(&f, VHOST_SET_VRING_NUM, MOCK_VQS, &num), -ENOBUFS);
	assert_int_equal(state_ioctl(&f, VHOST_SET_VRING_NUM, UINT32_MAX, &num), -ENOBUFS);
	assert_int_equal(state_ioctl(&f, VHOST_SET_VRING_NUM, 0, &num), 0);
	assert_int_equal(f.m->last_num, 64);
	num = 50;
	assert_int_equal(state_ioctl(&f, VHOST_SET_VRING_BUSYLOOP_TIMEOUT, 1, &num), 0);
	num = 0;
	assert_int_equal(state_ioctl(&f, VHOST_GET_VRING_BUSYLOOP_TIMEOUT, 1, &num), 0);
	assert_int_equal(num, 50);
	num = 99;
	assert_int_equal(state_ioctl(&f, VHOST_VDPA_GET_VRING_GROUP, 1, &num), 0);
	assert_int_equal(num, 0);
	assert_int_equal(state_ioctl(&f, VHOST_VDPA_SET_GROUP_ASID, MOCK_VQS, &num), -ENOBUFS);
	num = 99;
	assert_int_equal(state_ioctl(&f, VHOST_VDPA_SET_GROUP_ASID, 0, &num), -EINVAL);

	/* The descriptor is the one that was handed over, not the number in the argument. */
	assert_int_equal(do_ioctl(&f, VHOST_SET_VRING_CALL, &file, sizeof(file),
				  eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
			 0);
	file.index = MOCK_VQS;
	assert_int_equal(do_ioctl(&f, VHOST_SET_VRING_CALL, &file, sizeof(file),
				  eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
			 -ENOBUFS);
	end(&f);
}

/* A descriptor that comes with what has none, or with a refused call, is closed. */
static void test_descriptors(void **state)
{
	struct vhost_vring_file file = {0};
	struct fixture f;
	int fd;

	begin(&f);
	fd = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(do_ioctl(&f, VHOST_SET_OWNER, NULL, 0, fd), 0);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	fd = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(do_ioctl(&f, VHOST_SET_VRING_KICK, &file, 4, fd), -EINVAL);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	fd = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(do_ioctl(&f, 12345, NULL, 0, fd), -ENOTTY);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	end(&f);
}

static int do_write(struct fixture *f, const void *msg, size_t bytes)
{
	struct counted_done count = {0};
	struct vdpa_done done = counted_done(&count);
	int err = vhost_uapi_write(f->v, msg, bytes, &done);

	spin(f);
	assert_int_equal(count.calls, err ? 0 : 1);
	return err ? err : count.result;
}

static struct vhost_msg_v2 update(uint64_t iova, uint64_t size, uint64_t uaddr)
{
	struct vhost_msg_v2 msg = {.type = VHOST_IOTLB_MSG_V2};

	msg.iotlb = (struct vhost_iotlb_msg){.iova = iova,
					     .size = size,
					     .uaddr = uaddr,
					     .perm = VHOST_ACCESS_RW,
					     .type = VHOST_IOTLB_UPDATE};
	return msg;
}

static void test_messages(void **state)
{
	struct vhost_msg_v2 msg = update(PAGE, PAGE, USER);
	struct vhost_msg v1 = {.type = VHOST_IOTLB_MSG};
	struct vhost_vdpa_update named;
	uint64_t asid = VDPA_BIT(VHOST_BACKEND_F_IOTLB_ASID);
	struct fixture f;

	begin(&f);
	assert_true(vhost_uapi_msg_update(&msg, sizeof(msg), &named));
	assert_true(named.uaddr == USER && named.size == PAGE && named.perm == VHOST_MAP_RW);
	assert_false(vhost_uapi_msg_update(&msg, sizeof(msg) - 1, &named));
	assert_int_equal(do_write(&f, &msg, sizeof(msg)), -EPERM);
	assert_int_equal(do_ioctl(&f, VHOST_SET_OWNER, NULL, 0, -1), 0);
	assert_int_equal(do_write(&f, &msg, sizeof(msg)), VHOST_UAPI_MSG_BYTES);
	assert_int_equal(vhost_vdpa_iotlb(f.v, 0)->nmaps, 1);
	assert_int_equal(do_write(&f, &msg, sizeof(msg)), -EEXIST);
	msg = update(2 * PAGE, PAGE, 1);
	assert_int_equal(do_write(&f, &msg, sizeof(msg)), -EFAULT);
	msg.type = 7;
	assert_int_equal(do_write(&f, &msg, sizeof(msg)), -EINVAL);
	assert_int_equal(do_write(&f, &msg, sizeof(msg) - 1), -EINVAL);
	assert_int_equal(do_write(&f, NULL, 0), -EINVAL);

	/* The address space counts only once that was negotiated. */
	msg = update(2 * PAGE, PAGE, USER);
	msg.asid = 1000;
	assert_int_equal(do_write(&f, &msg, sizeof(msg)), VHOST_UAPI_MSG_BYTES);
	assert_int_equal(do_ioctl(&f, VHOST_SET_BACKEND_FEATURES, &asid, 8, -1), 0);
	msg = update(3 * PAGE, PAGE, USER);
	msg.asid = 1000;
	assert_int_equal(do_write(&f, &msg, sizeof(msg)), -EINVAL);

	v1.iotlb = (struct vhost_iotlb_msg){.iova = 0, .size = 0, .type = VHOST_IOTLB_INVALIDATE};
	assert_int_equal(do_write(&f, &v1, sizeof(v1)), VHOST_UAPI_MSG_BYTES);
	assert_int_equal(vhost_vdpa_iotlb(f.v, 0)->nmaps, 2);
	v1.iotlb.size = 3 * PAGE;
	assert_int_equal(do_write(&f, &v1, sizeof(v1)), VHOST_UAPI_MSG_BYTES);
	assert_int_equal(vhost_vdpa_iotlb(f.v, 0)->nmaps, 0);
	v1.iotlb.type = VHOST_IOTLB_BATCH_BEGIN;
	assert_int_equal(do_write(&f, &v1, sizeof(v1)), VHOST_UAPI_MSG_BYTES);
	v1.iotlb.type = VHOST_IOTLB_BATCH_END;
	assert_int_equal(do_write(&f, &v1, sizeof(v1)), VHOST_UAPI_MSG_BYTES);
	v1.iotlb.type = VHOST_IOTLB_MISS;
	assert_int_equal(do_write(&f, &v1, sizeof(v1)), -EINVAL);

	/* An address space is there from the first message that puts something into it. */
	msg = update(PAGE, PAGE, USER);
	msg.asid = 1;
	msg.iotlb.type = VHOST_IOTLB_INVALIDATE;
	assert_int_equal(do_write(&f, &msg, sizeof(msg)), -EINVAL);
	msg.iotlb.type = VHOST_IOTLB_UPDATE;
	assert_int_equal(do_write(&f, &msg, sizeof(msg)), VHOST_UAPI_MSG_BYTES);
	assert_int_equal(vhost_vdpa_iotlb(f.v, 1)->nmaps, 1);
	assert_int_equal(vhost_vdpa_iotlb(f.v, 0)->nmaps, 0);
	msg.iotlb.type = VHOST_IOTLB_INVALIDATE;
	assert_int_equal(do_write(&f, &msg, sizeof(msg)), VHOST_UAPI_MSG_BYTES);
	assert_int_equal(vhost_vdpa_iotlb(f.v, 1)->nmaps, 0);
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),	    cmocka_unit_test(test_any_number),
		cmocka_unit_test(test_device),	    cmocka_unit_test(test_vrings),
		cmocka_unit_test(test_descriptors), cmocka_unit_test(test_messages),
	};

	return cmocka_run_group_tests_name("vhost uapi", tests, NULL, NULL);
}
