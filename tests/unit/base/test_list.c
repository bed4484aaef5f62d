// SPDX-License-Identifier: BSD-3-Clause
/* Lists and reference counts. */
#include <stdlib.h>
#include "base/cmocka_inc.h"
#include "base/list.h"
#include "base/ref.h"

struct item {
	int n;
	struct list node;
};

static struct item items[5];

static void fill(struct list *head)
{
	list_init(head);
	for (int i = 0; i < 5; i++) {
		items[i].n = i;
		list_add_tail(head, &items[i].node);
	}
}

static int sum(struct list *head)
{
	struct item *it;
	int digits = 0;

	list_for_each_entry (it, head, node)
		digits = digits * 10 + it->n;
	return digits;
}

static void order_and_deletion(void **state)
{
	struct list head, *node, *tmp;
	struct item *it, *next, first = {.n = 9};

	fill(&head);
	assert_int_equal(sum(&head), 1234);
	list_add(&head, &first.node);
	assert_int_equal(sum(&head), 901234);
	list_del(&items[2].node);
	list_del(&items[2].node);
	assert_int_equal(sum(&head), 90134);
	list_for_each_entry_safe (it, next, &head, node) {
		if (it->n % 3 == 0)
			list_del(&it->node);
	}
	assert_int_equal(sum(&head), 14);
	list_for_each_safe (node, tmp, &head)
		list_del(node);
	assert_true(list_empty(&head));
	assert_null(list_first(&head));
	assert_null(list_pop(&head));
}

static void pop_and_splice(void **state)
{
	struct list head, other = LIST_INIT(other);
	struct item extra = {.n = 7};

	fill(&head);
	list_add_tail(&other, &extra.node);
	list_splice_tail(&other, &head);
	assert_true(list_empty(&head));
	assert_int_equal(sum(&other), 701234);
	list_splice_tail(&other, &head);
	assert_int_equal(sum(&other), 701234);
	assert_ptr_equal(list_entry(list_pop(&other), struct item, node), &extra);
	assert_ptr_equal(list_first(&other), &items[0].node);
}

static void references(void **state)
{
	struct vdpa_ref ref;

	vdpa_ref_init(&ref);
	vdpa_ref_get(&ref);
	assert_int_equal(vdpa_ref_read(&ref), 2);
	assert_false(vdpa_ref_put(&ref));
	assert_true(vdpa_ref_put(&ref));
}

/* Once at the top it stays there: nobody frees what somebody may still hold. */
static void references_saturate(void **state)
{
	struct vdpa_ref ref;

	vdpa_ref_init(&ref);
	atomic_store(&ref.n, VDPA_REF_SATURATED - 1);
	vdpa_ref_get(&ref);
	for (int i = 0; i < 10; i++)
		vdpa_ref_get(&ref);
	assert_int_equal(vdpa_ref_read(&ref), VDPA_REF_SATURATED);
	for (int i = 0; i < 100; i++)
		assert_false(vdpa_ref_put(&ref));
	assert_int_equal(vdpa_ref_read(&ref), VDPA_REF_SATURATED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(order_and_deletion),
		cmocka_unit_test(pop_and_splice),
		cmocka_unit_test(references),
		cmocka_unit_test(references_saturate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
