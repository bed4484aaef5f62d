// SPDX-License-Identifier: BSD-3-Clause
/*
 * uvdpa vfu: what a device says of itself. The server may be anybody's: what it says is bounded
 * here before it is walked.
 */
#include <errno.h>
#include <string.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <linux/virtio_pci.h>
#include "base/fd.h"
#include "vfu.h"

#define DOORBELLS_MAX 64u

struct flag_name {
	uint32_t bit;
	const char *name;
};

static json_t *flags_json(uint32_t flags, const struct flag_name *names)
{
	json_t *list = json_array();

	for (; names->name; names++) {
		if (flags & names->bit)
			json_array_append_new(list, json_string(names->name));
	}
	return list;
}

/* ---- info ---- */

static const struct flag_name device_flags[] = {
	{VFIO_DEVICE_FLAGS_RESET, "reset"},
	{VFIO_DEVICE_FLAGS_PCI, "pci"},
	{VFIO_DEVICE_FLAGS_PLATFORM, "platform"},
	{VFIO_DEVICE_FLAGS_CCW, "ccw"},
	{VFIO_DEVICE_FLAGS_AP, "ap"},
	{0, NULL},
};

int cmd_vfu_info(struct cli *cli, int argc, char **argv)
{
	const struct vfu *v = cli->vfu;
	json_t *migration;
	int ret = cli_vfu_begin(cli, argc), err;

	(void)argv;
	if (ret)
		return ret;
	migration = cli_vfu_migration(cli->vfu, &err);
	if (err)
		return cli_vfu_failed(cli, err);
	return cli_vfu_answer(cli,
			      json_pack("{s:o, s:I, s:I, s:o?}", "flags",
					flags_json(v->info.flags, device_flags), "regions",
					(json_int_t)v->info.nregions, "irqs",
					(json_int_t)v->info.nirqs, "migration", migration),
			      cli_vfu_print_lines);
}

/* ---- regions ---- */

static const struct flag_name region_flags[] = {
	{VFIO_REGION_INFO_FLAG_READ, "read"},
	{VFIO_REGION_INFO_FLAG_WRITE, "write"},
	{VFIO_REGION_INFO_FLAG_MMAP, "mmap"},
	{0, NULL},
};

static json_t *range(uint64_t offset, uint64_t size)
{
	return json_pack("{s:I, s:I}", "offset", (json_int_t)offset, "size", (json_int_t)size);
}

static json_t *areas_json(const struct vfio_user_region_info *info)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < info->nareas; i++)
		json_array_append_new(list, range(info->areas[i].offset, info->areas[i].size));
	return list;
}

/* NULL: *@err, unless there are none. */
static json_t *doorbells_json(struct vfu *v, unsigned region, int *err)
{
	struct vfio_user_ioeventfd bells[DOORBELLS_MAX];
	int n = vfio_user_get_ioeventfds(v->client, region, bells, DOORBELLS_MAX);
	json_t *list;

	/* Optional: a server may refuse it in any way that leaves the connection. */
	*err = n == -EPROTO || n == -EIO || n == -ETIMEDOUT ? n : 0;
	if (n <= 0)
		return NULL;
	list = json_array();
	for (int i = 0; i < n; i++) {
		json_array_append_new(list, range(bells[i].offset, bells[i].size));
		vdpa_fd_close(&bells[i].fd);
	}
	return list;
}

static int add_region(struct vfu *v, unsigned region, bool all, json_t *list)
{
	struct vfio_user_region_info info;
	const char *name = cli_vfu_region_name(v, region);
	json_t *areas = NULL, *bells = NULL;
	int err = vfio_user_get_region(v->client, region, &info);

	if (err)
		return err;
	vdpa_fd_close(&info.fd);
	if (!info.size && !all)
		return 0;
	if (info.size)
		bells = doorbells_json(v, region, &err);
	if (info.nareas)
		areas = areas_json(&info);
	json_array_append_new(list, json_pack("{s:I, s:s*, s:I, s:o, s:o*, s:o*}", "index",
					      (json_int_t)region, "name", name, "size",
					      (json_int_t)info.size, "flags",
					      flags_json(info.flags, region_flags), "areas", areas,
					      "doorbells", bells));
	return err;
}

static void print_ranges(const char *what, const json_t *ranges)
{
	json_int_t offset, size;
	json_t *one;
	size_t i;

	json_array_foreach(ranges, i, one)
	{
		if (!json_unpack(one, "{s:I, s:I}", "offset", &offset, "size", &size))
			printf("  %s offset 0x%llx size 0x%llx\n", what, (unsigned long long)offset,
			       (unsigned long long)size);
	}
}

static void print_regions(const json_t *list)
{
	json_int_t index, size;
	const char *name;
	json_t *r, *flags;
	size_t i;

	json_array_foreach(list, i, r)
	{
		name = NULL;
		if (json_unpack(r, "{s:I, s?s, s:I, s:o}", "index", &index, "name", &name, "size",
				&size, "flags", &flags))
			continue;
		printf("%" JSON_INTEGER_FORMAT "%s%s: size 0x%llx flags ", index, name ? " " : "",
		       name ? name : "", (unsigned long long)size);
		cli_print_value(flags);
		putchar('\n');
		print_ranges("mmap", json_object_get(r, "areas"));
		print_ranges("doorbell", json_object_get(r, "doorbells"));
	}
}

int cmd_vfu_region_show(struct cli *cli, int argc, char **argv)
{
	unsigned region = 0, end;
	json_t *list;
	int ret = cli_args(cli, argc, 0, 1), err = 0;

	if (ret >= 0)
		return ret;
	ret = argc ? cli_vfu_region_arg(cli, argv[0], &region) : EXIT_OK;
	if (!ret)
		ret = cli_vfu_open(cli);
	if (ret)
		return ret;
	end = argc ? region + 1 : cli->vfu->info.nregions;
	/* More are none that anybody could mean. */
	if (!argc && end > 256)
		end = 256;
	list = json_array();
	for (; region < end && !err; region++)
		err = add_region(cli->vfu, region, cli->all || argc, list);
	if (!err)
		return cli_vfu_answer(cli, list, print_regions);
	json_decref(list);
	return cli_vfu_failed(cli, err);
}

/* ---- interrupts ---- */

static const struct flag_name irq_flags[] = {
	{VFIO_IRQ_INFO_EVENTFD, "eventfd"},
	{VFIO_IRQ_INFO_MASKABLE, "maskable"},
	{VFIO_IRQ_INFO_AUTOMASKED, "automasked"},
	{VFIO_IRQ_INFO_NORESIZE, "noresize"},
	{0, NULL},
};

static void print_irqs(const json_t *list)
{
	json_t *irq;
	size_t i;

	json_array_foreach(list, i, irq)
	{
		cli_print_pairs(irq);
		putchar('\n');
	}
}

int cmd_vfu_irq_show(struct cli *cli, int argc, char **argv)
{
	struct vfio_user_irqs irqs;
	json_t *list;
	int ret = cli_vfu_begin(cli, argc), err = 0;

	(void)argv;
	if (ret)
		return ret;
	list = json_array();
	for (unsigned i = 0; i < cli->vfu->info.nirqs && i < 256 && !err; i++) {
		err = vfio_user_get_irqs(cli->vfu->client, i, &irqs);
		if (!err && (irqs.count || cli->all))
			json_array_append_new(
				list, json_pack("{s:I, s:s*, s:I, s:o}", "index", (json_int_t)i,
						"name", cli_vfu_irq_name(cli->vfu, i), "count",
						(json_int_t)irqs.count, "flags",
						flags_json(irqs.flags, irq_flags)));
	}
	if (!err)
		return cli_vfu_answer(cli, list, print_irqs);
	json_decref(list);
	return cli_vfu_failed(cli, err);
}

/* ---- configuration space ---- */

struct config {
	uint8_t bytes[VFU_CONFIG_MAX];
	unsigned len;
};

static unsigned get16(const struct config *c, unsigned at)
{
	return c->bytes[at] | (unsigned)c->bytes[at + 1] << 8;
}

static uint32_t get32(const struct config *c, unsigned at)
{
	return get16(c, at) | (uint32_t)get16(c, at + 2) << 16;
}

/* For a command without words: EXIT_OK, or its end after a message. */
static int read_config(struct cli *cli, int argc, struct config *c)
{
	struct vfio_user_region_info info;
	int err, ret = cli_vfu_begin(cli, argc);

	if (ret)
		return ret;
	if (!(cli->vfu->info.flags & VFIO_DEVICE_FLAGS_PCI)) {
		fprintf(stderr, "uvdpa: %s: is no PCI device\n", cli->vfu->path);
		return EXIT_FAILED;
	}
	err = vfio_user_get_region(cli->vfu->client, VFIO_PCI_CONFIG_REGION_INDEX, &info);
	if (err)
		return cli_vfu_failed(cli, err);
	vdpa_fd_close(&info.fd);
	if (info.size < PCI_STD_HEADER_SIZEOF) {
		fprintf(stderr, "uvdpa: %s: has %llu bytes of configuration space\n",
			cli->vfu->path, (unsigned long long)info.size);
		return EXIT_FAILED;
	}
	c->len = info.size < VFU_CONFIG_MAX ? (unsigned)info.size : VFU_CONFIG_MAX;
	err = vfio_user_region_read(cli->vfu->client, VFIO_PCI_CONFIG_REGION_INDEX, 0, c->bytes,
				    c->len);
	return err ? cli_vfu_failed(cli, err) : EXIT_OK;
}

static void print_config(const json_t *config)
{
	const char *vendor, *device, *class, *revision, *data;

	if (json_unpack((json_t *)(uintptr_t)config, "{s:s, s:s, s:s, s:s, s:s}", "vendor", &vendor,
			"device", &device, "class", &class, "revision", &revision, "data", &data))
		return;
	/* The place is made up: a socket has none. */
	printf("00:00.0 Class %.4s: Device %s:%s (rev %s)\n", class, vendor, device, revision);
	cli_vfu_print_bytes(data);
}

int cmd_vfu_config(struct cli *cli, int argc, char **argv)
{
	struct config c = {.len = 0};
	char vendor[8], device[8], class[8], revision[4];
	int ret = read_config(cli, argc, &c);

	(void)argv;
	if (ret)
		return ret;
	snprintf(vendor, sizeof(vendor), "%04x", get16(&c, PCI_VENDOR_ID));
	snprintf(device, sizeof(device), "%04x", get16(&c, PCI_DEVICE_ID));
	snprintf(class, sizeof(class), "%06x", get32(&c, PCI_CLASS_REVISION) >> 8);
	snprintf(revision, sizeof(revision), "%02x", c.bytes[PCI_REVISION_ID]);
	return cli_vfu_answer(cli,
			      json_pack("{s:s, s:s, s:s, s:s, s:o}", "vendor", vendor, "device",
					device, "class", class, "revision", revision, "data",
					cli_vfu_hex(c.bytes, c.len)),
			      print_config);
}

/* ---- capabilities ---- */

static const char *const cap_names[] = {
	[PCI_CAP_ID_PM] = "power management",
	[PCI_CAP_ID_VPD] = "vital product data",
	[PCI_CAP_ID_MSI] = "MSI",
	[PCI_CAP_ID_VNDR] = "vendor",
	[PCI_CAP_ID_EXP] = "PCI Express",
	[PCI_CAP_ID_MSIX] = "MSI-X",
	[PCI_CAP_ID_AF] = "advanced features",
};
static const char *const ext_cap_names[] = {
	[PCI_EXT_CAP_ID_ERR] = "error reporting",
	[PCI_EXT_CAP_ID_VC] = "virtual channel",
	[PCI_EXT_CAP_ID_DSN] = "serial number",
	[PCI_EXT_CAP_ID_ACS] = "access control",
	[PCI_EXT_CAP_ID_ARI] = "ARI",
	[PCI_EXT_CAP_ID_ATS] = "ATS",
	[PCI_EXT_CAP_ID_SRIOV] = "SR-IOV",
	[PCI_EXT_CAP_ID_PRI] = "PRI",
	[PCI_EXT_CAP_ID_PASID] = "PASID",
	[PCI_EXT_CAP_ID_DVSEC] = "DVSEC",
};
/* Virtio 1.3, section 4.1.4. */
static const char *const virtio_names[] = {
	[VIRTIO_PCI_CAP_COMMON_CFG] = "virtio common",
	[VIRTIO_PCI_CAP_NOTIFY_CFG] = "virtio notify",
	[VIRTIO_PCI_CAP_ISR_CFG] = "virtio isr",
	[VIRTIO_PCI_CAP_DEVICE_CFG] = "virtio device",
	[VIRTIO_PCI_CAP_PCI_CFG] = "virtio window",
};

#define NAME_OF(names, i)                                                                          \
	((i) < sizeof(names) / sizeof((names)[0]) && (names)[i] ? (names)[i] : "?")

static void add_cap(json_t *list, unsigned at, unsigned id, const char *name)
{
	char offset[8];

	snprintf(offset, sizeof(offset), "%02x", at);
	json_array_append_new(list, json_pack("{s:s, s:I, s:s}", "offset", offset, "id",
					      (json_int_t)id, "name", name));
}

/* Those of virtio say where its structures are. */
static void add_vendor(json_t *list, const struct config *c, unsigned at)
{
	const unsigned type = c->bytes[at + offsetof(struct virtio_pci_cap, cfg_type)];

	add_cap(list, at, PCI_CAP_ID_VNDR, NAME_OF(virtio_names, type));
	json_object_update_new(
		json_array_get(list, json_array_size(list) - 1),
		json_pack("{s:i, s:I, s:I}", "bar",
			  c->bytes[at + offsetof(struct virtio_pci_cap, bar)], "bar_offset",
			  (json_int_t)get32(c, at + offsetof(struct virtio_pci_cap, offset)),
			  "length",
			  (json_int_t)get32(c, at + offsetof(struct virtio_pci_cap, length))));
}

/* A chain of a hostile device has no end: each has four bytes at least. */
static void add_caps(json_t *list, const struct config *c)
{
	unsigned at = c->bytes[PCI_CAPABILITY_LIST] & ~3u;

	if (!(get16(c, PCI_STATUS) & PCI_STATUS_CAP_LIST))
		return;
	for (unsigned i = 0; i < 48 && at >= PCI_STD_HEADER_SIZEOF && at + 4 <= c->len; i++) {
		const unsigned id = c->bytes[at];

		if (id == PCI_CAP_ID_VNDR && get16(c, PCI_VENDOR_ID) == 0x1af4 &&
		    at + sizeof(struct virtio_pci_cap) <= c->len)
			add_vendor(list, c, at);
		else
			add_cap(list, at, id, NAME_OF(cap_names, id));
		at = c->bytes[at + PCI_CAP_LIST_NEXT] & ~3u;
	}
}

static void add_ext_caps(json_t *list, const struct config *c)
{
	unsigned at = 0x100;

	for (unsigned i = 0; i < 960 && at >= 0x100 && at + 4 <= c->len; i++) {
		const uint32_t head = get32(c, at);

		if (!head || head == UINT32_MAX)
			return;
		add_cap(list, at, PCI_EXT_CAP_ID(head),
			NAME_OF(ext_cap_names, PCI_EXT_CAP_ID(head)));
		at = PCI_EXT_CAP_NEXT(head) & ~3u;
	}
}

static void print_caps(const json_t *list)
{
	const char *offset, *name;
	json_int_t id, where, length;
	json_t *cap;
	size_t i;
	int bar;

	json_array_foreach(list, i, cap)
	{
		if (json_unpack(cap, "{s:s, s:I, s:s}", "offset", &offset, "id", &id, "name",
				&name))
			continue;
		printf("%s: %s (0x%02llx)", offset, name, (unsigned long long)id);
		if (!json_unpack(cap, "{s:i, s:I, s:I}", "bar", &bar, "bar_offset", &where,
				 "length", &length))
			printf(" bar %d offset 0x%llx length 0x%llx", bar,
			       (unsigned long long)where, (unsigned long long)length);
		putchar('\n');
	}
}

int cmd_vfu_caps(struct cli *cli, int argc, char **argv)
{
	struct config c = {.len = 0};
	json_t *list;
	int ret = read_config(cli, argc, &c);

	(void)argv;
	if (ret)
		return ret;
	list = json_array();
	add_caps(list, &c);
	if (c.len > 0x100)
		add_ext_caps(list, &c);
	return cli_vfu_answer(cli, list, print_caps);
}
