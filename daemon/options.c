// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "ctl/service.h"
#include "options.h"
#include "uvdpa-config.h"

enum {
	O_MODE = 256,
	O_OWNER,
	O_FD,
	O_READY,
	O_LEVEL,
	O_CLIENTS,
	O_CPUS,
	O_VDUSE,
	O_VDUSE_MODE,
	O_VDUSE_OWNER,
	O_MDEV,
	O_MDEV_SOCKETS,
	O_PLUGINS,
	O_SYSFS
};

static const struct option longs[] = {
	{"socket", required_argument, NULL, 's'},
	{"socket-mode", required_argument, NULL, O_MODE},
	{"socket-owner", required_argument, NULL, O_OWNER},
	{"fd", required_argument, NULL, O_FD},
	{"ready-fd", required_argument, NULL, O_READY},
	{"config", required_argument, NULL, 'c'},
	{"plugin-dir", required_argument, NULL, O_PLUGINS},
	{"mdev-dir", required_argument, NULL, O_MDEV},
	{"mdev-socket-dir", required_argument, NULL, O_MDEV_SOCKETS},
#ifdef VDPA_HAVE_SYSFS
	{"sysfs", required_argument, NULL, O_SYSFS},
#endif
	{"workers", required_argument, NULL, 'w'},
	{"worker-cpus", required_argument, NULL, O_CPUS},
	{"max-clients", required_argument, NULL, O_CLIENTS},
	{"log-level", required_argument, NULL, O_LEVEL},
	{"vduse", required_argument, NULL, O_VDUSE},
	{"vduse-mode", required_argument, NULL, O_VDUSE_MODE},
	{"vduse-owner", required_argument, NULL, O_VDUSE_OWNER},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'V'},
	{NULL, 0, NULL, 0},
};

static const char usage[] =
	"Usage: uvdpad [OPTIONS]\n"
	"Serve vDPA devices from user space. Stays in the foreground; ends on SIGTERM.\n"
	"\n"
	"  -s, --socket PATH        control socket (default /run/uvdpa/ctl.sock for root,\n"
	"                           $XDG_RUNTIME_DIR/uvdpa/ctl.sock for others)\n"
	"      --socket-mode MODE   its mode, octal (default 600; 660 with a group)\n"
	"      --socket-owner USER[:GROUP]\n"
	"                           its owner; USER and members of GROUP may use it\n"
	"      --fd N               serve this socket, listening or connected (repeatable)\n"
	"      --ready-fd N         write a newline to N and close it when listening\n"
	"  -c, --config FILE        create the devices of FILE (as uvdpa config dump writes)\n"
	"      --plugin-dir DIR     take parents and drivers of mediated devices from DIR/*.so\n"
	"      --mdev-dir DIR       keep definitions of mediated devices in DIR, as mdevctl does\n"
	"      --mdev-socket-dir DIR\n"
	"                           serve mediated devices of class vfio at DIR/UUID.sock\n"
#ifdef VDPA_HAVE_SYSFS
	"      --sysfs DIR          show mediated devices at DIR, as Linux's sysfs does (FUSE)\n"
#endif
	"  -w, --workers N          threads that serve queues (default 1; 0: none)\n"
	"      --worker-cpus LIST   processors for them, one each, in turn: 0,2-5\n"
	"      --max-clients N      connections at a time (default 128)\n"
	"      --log-level LEVEL    error, warning, info (default) or debug\n"
	"      --vduse PATH         socket for processes that have devices (VDUSE)\n"
	"      --vduse-mode MODE    its mode, octal (default 600)\n"
	"      --vduse-owner USER[:GROUP]\n"
	"                           its owner\n"
	"  -h, --help               this text\n"
	"  -V, --version            version\n";

static int fail(const char *option, const char *value, const char *allowed)
{
	fprintf(stderr, "uvdpad: %s \"%s\": %s\n", option, value, allowed);
	return 2;
}

static int parse_number(const char *option, const char *text, unsigned base, unsigned long max,
			unsigned long *out)
{
	char *end, allowed[64];

	errno = 0;
	*out = strtoul(text, &end, (int)base);
	if (!errno && end != text && !*end && *text != '-' && *out <= max)
		return -1;
	snprintf(allowed, sizeof(allowed),
		 base == 8 ? "an octal mode up to %lo is allowed" : "a number up to %lu is allowed",
		 max);
	return fail(option, text, allowed);
}

static int parse_level(struct options *opt, const char *text)
{
	static const struct {
		const char *name;
		enum vdpa_log_level level;
	} levels[] = {
		{"error", VDPA_LOG_ERR},
		{"warning", VDPA_LOG_WARN},
		{"info", VDPA_LOG_INFO},
		{"debug", VDPA_LOG_DEBUG},
	};

	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		if (!strcmp(text, levels[i].name)) {
			opt->level = levels[i].level;
			return -1;
		}
	}
	return fail("--log-level", text, "error, warning, info or debug is allowed");
}

static bool number(const char *text, unsigned long *out)
{
	char *end;

	errno = 0;
	*out = strtoul(text, &end, 10);
	return !errno && end != text && !*end && *text >= '0' && *text <= '9' && *out < UINT_MAX;
}

static int parse_owner(struct options *opt, char *text)
{
	char *group = strchr(text, ':');
	const struct passwd *pw;
	const struct group *gr;
	unsigned long n;

	if (group)
		*group++ = '\0';
	if (*text) {
		pw = getpwnam(text);
		if (!pw && !number(text, &n))
			return fail("--socket-owner", text, "there is no such user");
		opt->uid = pw ? pw->pw_uid : (uid_t)n;
	}
	if (group && *group) {
		gr = getgrnam(group);
		if (!gr && !number(group, &n))
			return fail("--socket-owner", group, "there is no such group");
		opt->gid = gr ? gr->gr_gid : (gid_t)n;
	}
	return -1;
}

static int parse_fd(const char *option, const char *text, int *fd)
{
	struct vdpa_error err = {0};

	*fd = ctl_parse_fd(text, option, &err);
	if (*fd >= 0)
		return -1;
	fprintf(stderr, "uvdpad: %s: %s\n", err.object, err.msg);
	return 2;
}

static int add_fd(struct options *opt, const char *text)
{
	if (opt->nfds == OPTIONS_FDS_MAX)
		return fail("--fd", text, "too many: 4 are allowed");
	return parse_fd("--fd", text, &opt->fd[opt->nfds++]);
}

/* "0,2-5" */
static int parse_cpus(struct options *opt, const char *text)
{
	static const char allowed[] =
		"numbers below 1024 and ranges of them, as 0,2-5, are allowed";
	const char *at = text;
	unsigned long first, last;
	char *end;

	do {
		if (*at < '0' || *at > '9')
			return fail("--worker-cpus", text, allowed);
		first = last = strtoul(at, &end, 10);
		if (*end == '-' && end[1] >= '0' && end[1] <= '9')
			last = strtoul(end + 1, &end, 10);
		if (last < first || last >= 1024 || (*end && *end != ','))
			return fail("--worker-cpus", text, allowed);
		for (; first <= last && opt->ncpus < OPTIONS_CPUS_MAX; first++)
			opt->cpu[opt->ncpus++] = (uint16_t)first;
		at = end + 1;
	} while (*end);
	return -1;
}

static int set_socket(struct options *opt, const char *text)
{
	if (!*text || strlen(text) >= sizeof(opt->socket))
		return fail("--socket", text, "a path is wanted");
	snprintf(opt->socket, sizeof(opt->socket), "%s", text);
	return -1;
}

/* Where the text of an option goes that is taken as it is; NULL: it is none of these. */
static const char **text_of(struct options *opt, int c)
{
	switch (c) {
	case 'c':
		return &opt->config;
	case O_PLUGINS:
		return &opt->plugin_dir;
	case O_MDEV:
		return &opt->mdev_dir;
#ifdef VDPA_HAVE_SYSFS
	case O_SYSFS:
		return &opt->sysfs;
#endif
	case O_MDEV_SOCKETS:
		return &opt->mdev_socket_dir;
	case O_VDUSE:
		return &opt->vduse;
	case O_VDUSE_MODE:
		return &opt->vduse_mode;
	case O_VDUSE_OWNER:
		return &opt->vduse_owner;
	default:
		return NULL;
	}
}

static int parse_one(struct options *opt, int c)
{
	const char **text = text_of(opt, c);
	unsigned long n = 0;
	int ret;

	if (text) {
		*text = optarg;
		return -1;
	}
	switch (c) {
	case 's':
		return set_socket(opt, optarg);
	case O_MODE:
		ret = parse_number("--socket-mode", optarg, 8, 0777, &n);
		opt->mode = (mode_t)n;
		return ret;
	case O_OWNER:
		return parse_owner(opt, optarg);
	case O_FD:
		return add_fd(opt, optarg);
	case O_READY:
		return parse_fd("--ready-fd", optarg, &opt->ready_fd);
	case 'w':
		ret = parse_number("--workers", optarg, 10, 256, &n);
		opt->workers = (unsigned)n;
		return ret;
	case O_CLIENTS:
		ret = parse_number("--max-clients", optarg, 10, 4096, &n);
		opt->max_clients = n ? (unsigned)n : 1;
		return ret;
	case O_CPUS:
		return parse_cpus(opt, optarg);
	case O_LEVEL:
		return parse_level(opt, optarg);
	case 'h':
		fputs(usage, stdout);
		return 0;
	case 'V':
		puts("uvdpad " VDPA_VERSION);
		return 0;
	default:
		fputs("Try \"uvdpad --help\".\n", stderr);
		return 2;
	}
}

int options_parse(struct options *opt, int argc, char **argv)
{
	int c, ret;

	*opt = (struct options){
		.uid = (uid_t)-1,
		.gid = (gid_t)-1,
		.ready_fd = -1,
		.workers = 1,
		.max_clients = 128,
		.level = VDPA_LOG_INFO,
		.mode = 01000,
		.vduse_mode = "600",
	};
	while ((c = getopt_long(argc, argv, "s:c:w:hV", longs, NULL)) != -1) {
		ret = parse_one(opt, c);
		if (ret >= 0)
			return ret;
	}
	if (optind < argc) {
		fprintf(stderr, "uvdpad: \"%s\": there are no arguments besides options\n",
			argv[optind]);
		return 2;
	}
	if (opt->mode == 01000)
		opt->mode = opt->gid == (gid_t)-1 ? 0600 : 0660;
	return -1;
}
