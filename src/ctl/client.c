// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <uvdpa/loop.h>
#include "base/fd.h"
#include "ctl/client.h"
#include "ctl/frame.h"
#include "ctl/json.h"
#include "ctl/proto.h"

/* Notifications that come while an answer is awaited are kept, so many at most. */
#define QUEUE_MAX 256

struct ctl_client {
	int fd;
	struct ctl_in in;
	json_int_t last_id;
	json_t *queue; /* array of params */
	uint64_t timeout_ns;
};

static int connect_to(const char *path, struct vdpa_error *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd, ret;

	if (strlen(path) >= sizeof(addr.sun_path))
		return vdpa_error_set(err, ENAMETOOLONG, path,
				      "the path of a socket has at most %zu bytes",
				      sizeof(addr.sun_path) - 1);
	memcpy(addr.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return vdpa_error_set(err, errno, path, "socket: %s", strerror(errno));
	if (!connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		return fd;
	ret = errno;
	close(fd);
	return vdpa_error_set(err, ret, path,
			      "cannot connect: %s (is uvdpad running? "
			      "start it, or name its socket with --socket)",
			      strerror(ret));
}

int ctl_client_open(const char *path, struct ctl_client **out, struct vdpa_error *err)
{
	struct ctl_client *c = calloc(1, sizeof(*c));
	int fd;

	if (!c)
		return vdpa_error_set(err, ENOMEM, path, "out of memory");
	c->queue = json_array();
	fd = connect_to(path, err);
	if (fd < 0 || !c->queue) {
		json_decref(c->queue);
		free(c);
		return fd < 0 ? fd : -ENOMEM;
	}
	c->fd = fd;
	ctl_in_init(&c->in, CTL_REPLY_MAX);
	*out = c;
	return 0;
}

void ctl_client_close(struct ctl_client *c)
{
	if (!c)
		return;
	vdpa_fd_close(&c->fd);
	ctl_in_fini(&c->in);
	json_decref(c->queue);
	free(c);
}

void ctl_client_set_timeout(struct ctl_client *c, uint64_t timeout_ns)
{
	c->timeout_ns = timeout_ns;
}

/* @deadline_ns 0: none. */
static int wait_readable(struct ctl_client *c, uint64_t deadline_ns)
{
	struct pollfd p = {.fd = c->fd, .events = POLLIN};
	int ms = -1, n;

	do {
		if (deadline_ns) {
			uint64_t now = vdpa_clock_ns();

			ms = now >= deadline_ns ? 0 : (int)((deadline_ns - now) / 1000000 + 1);
		}
		n = poll(&p, 1, ms);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return n ? 0 : -ETIMEDOUT;
}

static int next_object(struct ctl_client *c, uint64_t deadline_ns, json_t **out,
		       struct vdpa_error *err)
{
	char *line;
	size_t len;

	while (!ctl_in_line(&c->in, &line, &len)) {
		ssize_t n = wait_readable(c, deadline_ns);

		if (n == -ETIMEDOUT)
			return vdpa_error_set(err, ETIMEDOUT, NULL, "the daemon does not answer");
		if (!n)
			n = ctl_in_read(&c->in, c->fd);
		if (!n)
			return vdpa_error_set(err, EPIPE, NULL, "the daemon closed the connection");
		if (n < 0)
			return vdpa_error_set(err, (int)-n, NULL, "reading from the daemon: %s",
					      strerror((int)-n));
	}
	*out = ctl_json_parse(line, len, err);
	return *out ? 0 : -EPROTO;
}

static int send_all(struct ctl_client *c, const char *text, size_t len, struct vdpa_error *err)
{
	while (len) {
		ssize_t n = send(c->fd, text, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return vdpa_error_set(err, errno, NULL, "writing to the daemon: %s",
					      strerror(errno));
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

static int send_request(struct ctl_client *c, const char *method, json_t *params,
			struct vdpa_error *err)
{
	json_t *req = json_pack("{s:s, s:I, s:s, s:o}", "jsonrpc", "2.0", "id", ++c->last_id,
				"method", method, "params", params ? params : json_object());
	char *text = req ? json_dumps(req, JSON_COMPACT) : NULL;
	int ret;

	json_decref(req);
	if (!text)
		return vdpa_error_set(err, ENOMEM, NULL, "the request cannot be written as JSON");
	/* The line's end goes where the string's end was. */
	ret = strlen(text) > CTL_REQUEST_MAX
		      ? vdpa_error_set(err, EMSGSIZE, NULL, "the request is longer than %u bytes",
				       CTL_REQUEST_MAX)
		      : send_all(c, text, strlen(text), err);
	free(text);
	return ret ? ret : send_all(c, "\n", 1, err);
}

static int take_error(const json_t *error, struct vdpa_error *err)
{
	const char *msg = json_string_value(json_object_get(error, "message"));
	const json_t *data = json_object_get(error, "data");
	const char *name = json_string_value(json_object_get(data, "errno"));
	const char *object = json_string_value(json_object_get(data, "object"));
	json_int_t code = json_integer_value(json_object_get(error, "code"));

	return vdpa_error_set(err, code == CTL_E_FAILED ? ctl_errno_from_name(name) : EINVAL,
			      object ? object : "", "%s", msg ? msg : "the daemon gave no reason");
}

static void keep_event(struct ctl_client *c, const json_t *msg)
{
	if (json_array_size(c->queue) < QUEUE_MAX)
		json_array_append(c->queue, json_object_get(msg, "params"));
}

static int wait_answer(struct ctl_client *c, json_t **answer, struct vdpa_error *err)
{
	uint64_t deadline = c->timeout_ns ? vdpa_clock_ns() + c->timeout_ns : 0;

	for (;;) {
		json_t *msg = NULL;
		int ret = next_object(c, deadline, &msg, err);

		if (ret)
			return ret;
		if (json_integer_value(json_object_get(msg, "id")) == c->last_id ||
		    json_is_null(json_object_get(msg, "id"))) {
			*answer = msg;
			return 0;
		}
		if (json_object_get(msg, "method"))
			keep_event(c, msg);
		json_decref(msg);
	}
}

int ctl_client_call(struct ctl_client *c, const char *method, json_t *params, json_t **result,
		    struct vdpa_error *err)
{
	json_t *answer = NULL, *error;
	int ret = send_request(c, method, params, err);

	/* A daemon that refuses us says so and closes, maybe before we have written: read it first.
	 */
	if (!ret || ret == -EPIPE)
		ret = wait_answer(c, &answer, err);
	if (ret)
		return ret;
	error = json_object_get(answer, "error");
	if (error)
		ret = take_error(error, err);
	else if (result)
		*result = json_incref(json_object_get(answer, "result"));
	json_decref(answer);
	return ret;
}

int ctl_client_next(struct ctl_client *c, json_t **params, struct vdpa_error *err)
{
	json_t *msg;
	int ret;

	if (json_array_size(c->queue)) {
		*params = json_incref(json_array_get(c->queue, 0));
		return json_array_remove(c->queue, 0) ? -EIO : 0;
	}
	do {
		ret = next_object(c, 0, &msg, err);
		if (ret)
			return ret;
		*params = json_incref(json_object_get(msg, "params"));
		json_decref(msg);
	} while (!*params);
	return 0;
}
