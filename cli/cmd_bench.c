// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include "bench.h"

enum {
	O_SOCKET = 256,
	O_BACKEND,
	O_ATTR,
	O_OP,
	O_ORDER,
	O_SIZE,
	O_DEPTH,
	O_SECONDS,
	O_RATE,
	O_WAIT,
	O_QUEUE_SIZE,
	O_CPU,
	O_DEVICE_CPU,
	O_JSON,
};

static const struct option longs[] = {
	{"socket", required_argument, NULL, O_SOCKET},
	{"backend", required_argument, NULL, O_BACKEND},
	{"attr", required_argument, NULL, O_ATTR},
	{"op", required_argument, NULL, O_OP},
	{"order", required_argument, NULL, O_ORDER},
	{"size", required_argument, NULL, O_SIZE},
	{"depth", required_argument, NULL, O_DEPTH},
	{"seconds", required_argument, NULL, O_SECONDS},
	{"rate", required_argument, NULL, O_RATE},
	{"wait", required_argument, NULL, O_WAIT},
	{"queue-size", required_argument, NULL, O_QUEUE_SIZE},
	{"cpu", required_argument, NULL, O_CPU},
	{"device-cpu", required_argument, NULL, O_DEVICE_CPU},
	{"json", no_argument, NULL, O_JSON},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

static const char usage[] =
	"Usage: uvdpa bench { blk | net } { --socket=PATH | --backend=NAME } [OPTIONS]\n"
	"Load one device and print rate, latency and the CPU time of both sides.\n"
	"\n"
	"      --socket=PATH        the device behind this vhost-user socket\n"
	"      --backend=NAME       a software device made in this process, on this backend\n"
	"      --attr=KEY=VALUE     attribute of that device or its backend (repeatable)\n"
	"      --rate=N             requests or packets per second, each due at its own time and\n"
	"                           late from there on; without: as fast as they come back\n"
	"      --depth=N            most that are in flight (default 1; with --rate 128)\n"
	"      --size=BYTES         of a request (default 4K) or frame (default 64)\n"
	"      --seconds=N          default 3\n"
	"      --wait=sleep|poll    for completions: sleep until called (default), or poll\n"
	"      --queue-size=N       entries of the ring (default: what the device has, at most "
	"256)\n"
	"      --cpu=N              where the load runs; --device-cpu=N where a device in this\n"
	"                           process runs\n"
	"      --json\n"
	"blk:  --op=read|write      default read\n"
	"      --order=random|sequential\n"
	"net:  --op=loop|send|receive\n"
	"                           packets come back (default), or go one way\n"
	"What is on a disk is overwritten by --op=write.\n";

static int fail(const char *option, const char *value, const char *allowed)
{
	fprintf(stderr, "uvdpa bench: %s \"%s\": %s\n", option, value, allowed);
	return EXIT_USAGE;
}

static int number(const char *option, const char *text, uint64_t max, uint64_t *out)
{
	const struct vdpa_attr attrs[] = {{"n", text}, {NULL, NULL}};
	const struct vdpa_attr_spec spec[] = {{.name = "n", .type = VDPA_ATTR_SIZE},
					      {.name = NULL}};
	char allowed[64];

	if (!vdpa_attr_check(attrs, spec, NULL, NULL)) {
		*out = vdpa_attr_size(attrs, "n", 0);
		if (*out && *out <= max)
			return -1;
	}
	snprintf(allowed, sizeof(allowed), "a number from 1 to %llu is allowed",
		 (unsigned long long)max);
	return fail(option, text, allowed);
}

static int parse_cpu(const char *option, const char *text, int *out)
{
	char rest;

	if (sscanf(text, "%4d%c", out, &rest) == 1 && *out >= 0 && *out < 1024)
		return -1;
	return fail(option, text, "the number of a CPU is wanted");
}

static int parse_seconds(struct bench_options *opt, const char *text)
{
	char *end;

	opt->seconds = strtod(text, &end);
	if (!*end && opt->seconds >= 0.01 && opt->seconds <= 86400)
		return -1;
	return fail("--seconds", text, "0.01 to 86400 is allowed");
}

static int parse_op(struct bench_options *opt, const char *text)
{
	static const char *const names[] = {"read", "write", "loop", "send", "receive"};

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!strcmp(names[i], text) && (i >= BENCH_LOOP) == opt->net) {
			opt->what = (enum bench_what)i;
			return -1;
		}
	}
	return fail("--op", text,
		    opt->net ? "loop, send or receive is allowed" : "read or write is allowed");
}

/* One of two words. */
static int parse_choice(const char *option, const char *no, const char *yes, bool *out)
{
	char allowed[64];

	*out = !strcmp(optarg, yes);
	if (*out || !strcmp(optarg, no))
		return -1;
	snprintf(allowed, sizeof(allowed), "%s or %s is allowed", no, yes);
	return fail(option, optarg, allowed);
}

static int add_attr(struct bench_options *opt, const char *key, const char *value)
{
	if (opt->nattrs == BENCH_ATTRS_MAX)
		return fail(key, value, "too many attributes");
	opt->attrs[opt->nattrs++] = (struct vdpa_attr){key, value};
	return -1;
}

static int add_pair(struct bench_options *opt, char *text)
{
	char *eq = strchr(text, '=');

	if (!eq || eq == text)
		return fail("--attr", text, "KEY=VALUE is wanted");
	*eq = '\0';
	return add_attr(opt, text, eq + 1);
}

static int parse_one(struct bench_options *opt, int c)
{
	switch (c) {
	case O_SOCKET:
		opt->socket = optarg;
		return -1;
	case O_BACKEND:
		opt->backend = optarg;
		return add_attr(opt, "backend", optarg);
	case O_ATTR:
		return add_pair(opt, optarg);
	case O_OP:
		return parse_op(opt, optarg);
	case O_ORDER:
		return parse_choice("--order", "random", "sequential", &opt->sequential);
	case O_SIZE:
		return number("--size", optarg, opt->net ? 65550 : 16 << 20, &opt->size);
	case O_DEPTH:
		return number("--depth", optarg, BENCH_DEPTH_MAX, &opt->depth);
	case O_SECONDS:
		return parse_seconds(opt, optarg);
	case O_RATE:
		return number("--rate", optarg, 1000000000, &opt->rate);
	case O_WAIT:
		return parse_choice("--wait", "sleep", "poll", &opt->poll);
	case O_QUEUE_SIZE:
		return number("--queue-size", optarg, 32768, &opt->queue_size);
	case O_CPU:
		return parse_cpu("--cpu", optarg, &opt->cpu);
	case O_DEVICE_CPU:
		return parse_cpu("--device-cpu", optarg, &opt->device_cpu);
	case O_JSON:
		opt->json = true;
		return -1;
	case 'h':
		fputs(usage, stdout);
		return EXIT_OK;
	default:
		fputs("Try \"uvdpa bench --help\".\n", stderr);
		return EXIT_USAGE;
	}
}

/* What was not said, and what does not fit. */
static int complete(struct bench_options *opt)
{
	if (!opt->socket == !opt->backend)
		return fail("the device", "", "--socket=PATH or --backend=NAME is wanted");
	if (opt->socket && opt->nattrs)
		return fail("--attr", opt->attrs[0].key,
			    "a device behind a socket has its attributes already");
	if (opt->socket && opt->device_cpu >= 0)
		return fail("--device-cpu", "", "the device is in another process");
	if (!opt->net && opt->size * opt->depth > 1ull << 30)
		return fail("--depth", "", "depth times size is more than 1G");
	return -1;
}

static int parse(struct bench_options *opt, int argc, char **argv)
{
	int c, ret = -1;

	*opt = (struct bench_options){.seconds = 3, .cpu = -1, .device_cpu = -1};
	if (!argc || (strcmp(argv[0], "blk") && strcmp(argv[0], "net"))) {
		if (argc && (!strcmp(argv[0], "help") || !strcmp(argv[0], "--help"))) {
			fputs(usage, stdout);
			return EXIT_OK;
		}
		return fail("the class of device", argc ? argv[0] : "", "blk or net is allowed");
	}
	opt->net = !strcmp(argv[0], "net");
	opt->what = opt->net ? BENCH_LOOP : BENCH_READ;
	while (ret < 0 && (c = getopt_long(argc, argv, "h", longs, NULL)) != -1)
		ret = parse_one(opt, c);
	if (ret < 0 && optind < argc)
		ret = fail("argument", argv[optind], "there are only options");
	if (!opt->size)
		opt->size = opt->net ? 64 : 4096;
	if (!opt->depth)
		opt->depth = opt->rate ? 128 : 1;
	return ret < 0 ? complete(opt) : ret;
}

/* ---- output ---- */

static json_t *result_json(const struct bench *b, const struct bench_result *r)
{
	const struct histogram *h = &b->latency;
	json_t *obj = json_pack("{s:s, s:f, s:I, s:f, s:I, s:I, s:f}", "class",
				b->opt->net ? "net" : "blk", "seconds", r->seconds, "done",
				(json_int_t)r->done, "per_second", (double)r->done / r->seconds,
				"failed", (json_int_t)r->failed, "lost", (json_int_t)r->lost,
				"driver_cpu", r->driver_cpu);

	json_object_set_new(obj, "device_cpu",
			    r->device_cpu < 0 ? json_null() : json_real(r->device_cpu));
	if (h->count)
		json_object_set_new(obj, "latency_us",
				    json_pack("{s:f, s:f, s:f, s:f, s:f}", "average",
					      histogram_mean_ns(h) / 1e3, "p50",
					      (double)histogram_percentile_ns(h, 0.5) / 1e3, "p99",
					      (double)histogram_percentile_ns(h, 0.99) / 1e3,
					      "p99.9",
					      (double)histogram_percentile_ns(h, 0.999) / 1e3,
					      "max", (double)h->max_ns / 1e3));
	return obj;
}

static void print_cpu(const char *side, double cpu, const struct bench_result *r)
{
	if (cpu < 0)
		printf("%s CPU: not known\n", side);
	else
		printf("%s CPU: %.1f %%, %.3f us each\n", side, 100 * cpu / r->seconds,
		       r->done ? 1e6 * cpu / (double)r->done : 0);
}

static void print_text(const struct bench *b, const struct bench_result *r)
{
	const struct histogram *h = &b->latency;

	printf("%s: %llu in %.3f s, %.0f per second", b->opt->net ? "packets" : "requests",
	       (unsigned long long)r->done, r->seconds, (double)r->done / r->seconds);
	if (!b->opt->net)
		printf(", %.1f MB/s", (double)(r->done * b->opt->size) / r->seconds / 1e6);
	putchar('\n');
	if (r->failed || r->lost)
		printf("failed %llu, lost %llu\n", (unsigned long long)r->failed,
		       (unsigned long long)r->lost);
	if (h->count)
		printf("latency us: average %.2f, 50 %% %.2f, 90 %% %.2f, 99 %% %.2f, 99.9 %% "
		       "%.2f, max %.2f\n",
		       histogram_mean_ns(h) / 1e3, (double)histogram_percentile_ns(h, 0.5) / 1e3,
		       (double)histogram_percentile_ns(h, 0.9) / 1e3,
		       (double)histogram_percentile_ns(h, 0.99) / 1e3,
		       (double)histogram_percentile_ns(h, 0.999) / 1e3, (double)h->max_ns / 1e3);
	print_cpu("device", r->device_cpu, r);
	print_cpu("driver", r->driver_cpu, r);
}

int cmd_bench(struct cli *cli, int argc, char **argv)
{
	struct bench_options opt;
	struct bench_result result = {0};
	struct vdpa_error err = {0};
	struct bench *b;
	int ret = parse(&opt, argc, argv);

	if (ret >= 0)
		return ret;
	b = calloc(1, sizeof(*b));
	if (!b)
		return EXIT_FAILED;
	b->opt = &opt;
	b->ops = opt.net ? &bench_net_ops : &bench_blk_ops;
	ret = bench_connect(b, &err);
	if (!ret)
		ret = b->ops->open(b, &err);
	if (!ret)
		ret = bench_run(b, &result, &err);
	if (ret && !*err.msg)
		vdpa_error_set(&err, -ret, NULL, "%s", strerror(-ret));
	/* What is still out ends with the device, and not later. */
	bench_disconnect(b);
	b->ops->close(b);
	if (ret)
		ret = cli_error(&err);
	else if (opt.json || cli->json)
		ret = cli_print_json(cli, result_json(b, &result));
	else
		print_text(b, &result);
	free(b);
	return ret;
}
