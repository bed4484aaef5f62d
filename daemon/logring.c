// SPDX-License-Identifier: BSD-3-Clause
/*
 * Lines come from any thread. A reader of our stderr that does not keep up must not stop a device:
 * when the pipe is full the line is dropped and counted.
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "ctl/json.h"
#include "logring.h"

static int64_t realtime_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Called with the lock held, so that lines do not mix. */
static void write_stderr(struct logring *ring, const struct logring_line *l)
{
	struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};
	char buf[LOGRING_TEXT + 64];
	int n;

	if (poll(&p, 1, 0) != 1 || !(p.revents & POLLOUT)) {
		ring->dropped++;
		return;
	}
	n = snprintf(buf, sizeof(buf), "<%d>%s%s%s\n", l->level, l->object, *l->object ? ": " : "",
		     l->text);
	if (n > 0 && write(STDERR_FILENO, buf, (size_t)n) < 0)
		ring->dropped++;
}

static void log_line(void *arg, enum vdpa_log_level level, const char *object, const char *msg)
{
	struct logring *ring = arg;
	struct logring_line *l;

	pthread_mutex_lock(&ring->lock);
	l = &ring->line[ring->next % LOGRING_LINES];
	l->seq = ring->next++;
	l->time_ns = realtime_ns();
	l->level = level;
	snprintf(l->object, sizeof(l->object), "%s", object);
	snprintf(l->text, sizeof(l->text), "%s", msg);
	write_stderr(ring, l);
	pthread_mutex_unlock(&ring->lock);
}

void logring_init(struct logring *ring, enum vdpa_log_level level)
{
	memset(ring, 0, sizeof(*ring));
	pthread_mutex_init(&ring->lock, NULL);
	ring->log = (struct vdpa_log){.fn = log_line, .arg = ring, .level = level};
}

void logring_fini(struct logring *ring)
{
	pthread_mutex_destroy(&ring->lock);
}

static json_t *line_json(const struct logring_line *l)
{
	return json_pack("{s:I, s:I, s:i, s:o, s:o}", "seq", (json_int_t)l->seq, "time_ns",
			 (json_int_t)l->time_ns, "level", l->level, "object",
			 ctl_json_text(l->object), "text", ctl_json_text(l->text));
}

json_t *logring_json(struct logring *ring, uint64_t since, unsigned max)
{
	json_t *list = json_array();
	uint64_t first;

	pthread_mutex_lock(&ring->lock);
	if (max > LOGRING_LINES)
		max = LOGRING_LINES;
	first = ring->next > max ? ring->next - max : 0;
	if (first < since)
		first = since;
	for (uint64_t i = first; list && i < ring->next; i++)
		json_array_append_new(list, line_json(&ring->line[i % LOGRING_LINES]));
	pthread_mutex_unlock(&ring->lock);
	return list;
}
