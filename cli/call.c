// SPDX-License-Identifier: BSD-3-Clause
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include "cli.h"
#include "ctl/client.h"
#include "ctl/listen.h"

/* A device that does not drain is given up by the daemon after 30 s. */
#define CALL_TIMEOUT_NS 60000000000ull
/* Nobody waits longer for a completion. */
#define ASK_TIMEOUT_NS 1000000000ull

int cli_error(const struct vdpa_error *err)
{
	fprintf(stderr, "uvdpa: %s%s%s\n", err->object, *err->object ? ": " : "", err->msg);
	return EXIT_FAILED;
}

static int open_client(struct cli *cli, uint64_t timeout_ns, struct vdpa_error *err)
{
	char path[PATH_MAX];
	int ret = 0;

	if (cli->client)
		return 0;
	if (!cli->socket)
		ret = ctl_default_path(path, sizeof(path), err);
	if (!ret)
		ret = ctl_client_open(cli->socket ? cli->socket : path, &cli->client, err);
	if (!ret)
		ctl_client_set_timeout(cli->client, timeout_ns);
	return ret;
}

/* These take as long as there are bytes, devices or a kernel; the daemon itself watches over them.
 */
static bool takes_long(const char *method)
{
	static const char *const methods[] = {"drv.call", "config.load", "dev.add",
					      "dev.bind", "dev.unbind",	 "dev.del"};

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		if (!strcmp(method, methods[i]))
			return true;
	}
	return false;
}

int cli_call(struct cli *cli, const char *method, json_t *params, json_t **result)
{
	struct vdpa_error err = {0};
	int ret = open_client(cli, CALL_TIMEOUT_NS, &err);

	if (ret) {
		json_decref(params);
	} else {
		ctl_client_set_timeout(cli->client, takes_long(method) ? 0 : CALL_TIMEOUT_NS);
		ret = ctl_client_call(cli->client, method, params, result, &err);
	}
	return ret ? cli_error(&err) : EXIT_OK;
}

json_t *cli_ask(struct cli *cli, const char *method, json_t *params)
{
	json_t *result = NULL;

	if (open_client(cli, ASK_TIMEOUT_NS, NULL)) {
		json_decref(params);
		return NULL;
	}
	return ctl_client_call(cli->client, method, params, &result, NULL) ? NULL : result;
}

json_t *cli_list(struct cli *cli, int argc, const char *method, int *ret)
{
	json_t *list = NULL;

	*ret = cli_args(cli, argc, 0, 0);
	if (*ret >= 0)
		return NULL;
	*ret = cli_call(cli, method, NULL, &list);
	if (*ret || !cli->json)
		return *ret ? NULL : list;
	*ret = cli_print_json(cli, list);
	return NULL;
}

int cli_do(struct cli *cli, const char *method, json_t *params)
{
	json_t *result = NULL;
	int ret = cli_call(cli, method, params, &result);

	json_decref(result);
	return ret;
}
