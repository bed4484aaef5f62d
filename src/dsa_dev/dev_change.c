// SPDX-License-Identifier: BSD-3-Clause
/*
 * Several changes of one device as one: what a file says of its queues may only fit when all of it
 * is taken over. What can be changed is copied before, and put back if the whole cannot be.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dsa_dev/dev_impl.h"

struct dsa_change {
	struct dsa_dev *dev;
	unsigned rdbuf_limit;
	int engine_group[DSA_ENGINES_MAX];
	struct dsa_group groups[DSA_GROUPS_MAX];
	struct dsa_wq wqs[DSA_WQS_MAX];
};

struct dsa_change *dsa_dev_begin(struct dsa_dev *dev)
{
	struct dsa_change *c = malloc(sizeof(*c));

	if (!c)
		return NULL;
	c->dev = dev;
	c->rdbuf_limit = dev->rdbuf_limit;
	memcpy(c->engine_group, dev->engine_group, sizeof(c->engine_group));
	memcpy(c->groups, dev->groups, sizeof(c->groups));
	memcpy(c->wqs, dev->wqs, sizeof(c->wqs));
	dev->changes++;
	return c;
}

static int check_sum(const struct dsa_dev *dev, struct vdpa_error *err)
{
	unsigned sum = 0;

	for (unsigned i = 0; i < dev->nwqs; i++)
		sum += dev->wqs[i].size;
	if (sum <= dev->wq_size)
		return 0;
	return vdpa_error_set(err, ERANGE, dev->name,
			      "all queues together would have %u entries: at most %u are allowed",
			      sum, dev->wq_size);
}

/* Of queues that are in use nothing was changed, and what belongs to their users has moved on. */
static void put_back(struct dsa_dev *dev, const struct dsa_change *c)
{
	dev->rdbuf_limit = c->rdbuf_limit;
	memcpy(dev->engine_group, c->engine_group, sizeof(dev->engine_group));
	memcpy(dev->groups, c->groups, sizeof(dev->groups));
	for (unsigned i = 0; i < dev->nwqs; i++) {
		if (dev->wqs[i].state == DSA_WQ_DISABLED)
			dev->wqs[i] = c->wqs[i];
	}
}

int dsa_dev_end(struct dsa_change *c, int r, struct vdpa_error *err)
{
	struct dsa_dev *dev = c->dev;

	dev->changes--;
	if (!r)
		r = check_sum(dev, err);
	if (r)
		put_back(dev, c);
	free(c);
	return r;
}
