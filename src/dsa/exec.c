// SPDX-License-Identifier: BSD-3-Clause
/*
 * A descriptor from its first check to its completion record and interrupt; a batch, one descriptor
 * after the other, or, for whoever wants to know whether his fences are enough, backwards between
 * them.
 *
 * Faults. A miss, or a fault, ends an operation with what it did until then (0x03), or, with Block
 * On Fault, a miss makes it wait for the map to change, and a fault, which no change is expected
 * to mend, ends it with 0x04. The answer of a view that is out of date is neither.
 */
#include <errno.h>

#include "dsa/impl.h"

/* A slice ends after so much. */
#define SLICE_BYTES (1u << 20)
#define SLICE_STEPS 64u
/* A batch that is executed backwards is, so many at a time. */
#define BATCH_WINDOW 32u

#define BLOCKED 2
#define ABORTED 3
#define YIELDED 4

struct exec {
	struct dsa_worker *worker;
	struct dsa_work *work;
	struct dsa_mem *mem;
	uint64_t bytes; /* of this slice */
	unsigned steps;
};

static bool has(const struct dsa_run *run, uint32_t flag)
{
	return run->d.flags & flag;
}

static bool slice_over(struct exec *x)
{
	return x->bytes >= SLICE_BYTES || x->steps >= SLICE_STEPS;
}

/* ---- the body ---- */

/*
 * An access failed with @err. 0: try again; BLOCKED; or it has ended: DSA_STEP_DONE is no answer,
 * so -err with the status set.
 */
static int on_fault(struct exec *x, struct dsa_run *run, int err, uint8_t status)
{
	if (err == -EINTR)
		return 0;
	if (err == -EAGAIN && vdpa_view_refresh(x->mem->view)) {
		x->mem->limit = SIZE_MAX;
		return 0;
	}
	if (err == -EAGAIN && has(run, IDXD_OP_FLAG_BOF))
		return BLOCKED;
	if (err != -EAGAIN && err != -EFAULT) {
		run->status = DSA_COMP_HW_ERR1;
		return err;
	}
	run->status = has(run, IDXD_OP_FLAG_BOF) ? DSA_COMP_PAGE_FAULT_IR : status;
	if (x->mem->fault_write)
		run->status |= DSA_COMP_STATUS_WRITE;
	run->fault_addr = x->mem->fault_addr;
	return err;
}

/* 0: at its end; BLOCKED, ABORTED, YIELDED. */
static int body(struct exec *x, struct dsa_run *run)
{
	const struct dsa_op_info *info = dsa_op_info(run->d.op);
	int ret = info->step ? DSA_STEP_MORE : DSA_STEP_DONE;

	while (ret != DSA_STEP_DONE) {
		uint64_t before = run->done;

		if (atomic_load_explicit(&x->work->abort, memory_order_relaxed))
			return ABORTED;
		if (slice_over(x))
			return YIELDED;
		ret = info->step(x->mem, run);
		x->bytes += run->done - before;
		x->steps++;
		if (ret >= 0)
			continue;
		ret = on_fault(x, run, ret, DSA_COMP_PAGE_FAULT_NOBOF);
		if (ret == BLOCKED)
			return BLOCKED;
		if (ret < 0) {
			run->completed = (uint32_t)run->done;
			return 0;
		}
		ret = DSA_STEP_MORE;
	}
	return 0;
}

/* ---- the record ---- */

static void fill_record(const struct dsa_run *run, uint8_t *record)
{
	const struct dsa_op_info *info = dsa_op_info(run->d.op);
	uint32_t completed = htole32(run->completed), flags = htole32(run->invalid_flags);
	uint64_t fault = htole64(run->fault_addr);

	memset(record, 0, DSA_RECORD_BYTES);
	record[0] = run->status;
	record[1] = run->result;
	memcpy(record + 4, &completed, sizeof(completed));
	memcpy(record + 8, &fault, sizeof(fault));
	if (run->invalid_flags)
		memcpy(record + 16, &flags, sizeof(flags));
	else if (info && info->record && run->stage == DSA_STAGE_RECORD)
		info->record(run, record);
}

/* Who sees the status sees the rest: it is written last. */
static int store_record(struct dsa_mem *mem, uint64_t addr, const uint8_t *record)
{
	uint8_t *to = (uint8_t *)(uintptr_t)addr;
	struct iovec iov = {};
	int n = 1;

	if (mem->view) {
		n = vdpa_view_xlate(mem->view, addr, DSA_RECORD_BYTES, VHOST_MAP_WO, &iov, 1);
		to = iov.iov_base;
	}
	if (n == -EREMOTE || n == -E2BIG) {
		n = dsa_mem_write(mem, addr + 1, record + 1, DSA_RECORD_BYTES - 1,
				  DSA_RECORD_BYTES - 1);
		return n ? n : dsa_mem_write(mem, addr, record, 1, 1);
	}
	if (n < 0) {
		mem->fault_addr = addr;
		mem->fault_write = true;
		return n;
	}
	memcpy(to + 1, record + 1, DSA_RECORD_BYTES - 1);
	__atomic_store_n(to, record[0], __ATOMIC_RELEASE);
	if (mem->view)
		vdpa_view_dirty(mem->view, to, DSA_RECORD_BYTES);
	return 0;
}

static bool wants_record(const struct dsa_run *run)
{
	if (!has(run, IDXD_OP_FLAG_CRAV) || run->status == DSA_COMP_CRA_ALIGN)
		return false;
	return has(run, IDXD_OP_FLAG_RCR) || run->status != DSA_COMP_SUCCESS;
}

static bool failed(uint8_t status)
{
	return status != DSA_COMP_SUCCESS && status != DSA_COMP_SUCCESS_PRED;
}

/* To nobody's record: to the device's registers. */
static void tell_error(struct exec *x, const struct dsa_run *run)
{
	const struct dsa_queue_config *config = &x->work->queue->config;
	const struct dsa_run *top = &x->work->run;
	struct dsa_error error = {
		.status = run->status,
		.op = run->d.op,
		.pasid = x->work->space->pasid,
		.priv = top->d.raw[3] & 0x80,
		.batch = run != top,
		.batch_index = run != top ? (uint16_t)top->batch.at : 0,
		.invalid_flags = run->invalid_flags,
		.fault_addr = run->fault_addr,
	};

	if (config->ops && config->ops->error)
		config->ops->error(config->arg, &error);
}

/* A check that failed before that of the handle has left it unchecked. */
static void interrupt(struct exec *x, const struct dsa_run *run)
{
	const struct dsa_queue_config *config = &x->work->queue->config;
	const struct dsa_queue_ops *ops = config->ops;

	if (!has(run, IDXD_OP_FLAG_RCI) || run->status == DSA_COMP_INT_HANDLE_INVAL || !ops ||
	    !ops->interrupt)
		return;
	if (!ops->handle_valid || ops->handle_valid(config->arg, run->d.handle))
		ops->interrupt(config->arg, run->d.handle);
}

/* The flag may be the very one that is invalid here. */
static bool may_block(const struct exec *x, const struct dsa_run *run)
{
	return x->work->queue->config.block_on_fault && has(run, IDXD_OP_FLAG_BOF);
}

/* 0, BLOCKED, or ABORTED where it would block. */
static int complete(struct exec *x, struct dsa_run *run)
{
	uint8_t record[DSA_RECORD_BYTES];
	bool written = wants_record(run);
	int ret = 0;

	if (written) {
		fill_record(run, record);
		do {
			ret = store_record(x->mem, run->d.record, record);
		} while (ret == -EAGAIN && vdpa_view_refresh(x->mem->view));
	}
	if (ret == -EAGAIN && may_block(x, run))
		return atomic_load(&x->work->abort) ? ABORTED : BLOCKED;
	if (ret) {
		run->status = DSA_COMP_CRA_XLAT | DSA_COMP_STATUS_WRITE;
		run->fault_addr = run->d.record;
		run->invalid_flags = 0;
	}
	if (ret || (!written && failed(run->status)))
		tell_error(x, run);
	interrupt(x, run);
	return 0;
}

/* ---- one descriptor ---- */

/*
 * Who polls the record has it: while the body runs, it comes over. A hint, which no address is too
 * bad for; processors that do not know it do nothing.
 */
#ifdef __x86_64__
__attribute__((target("prfchw")))
#endif
static void
fetch_record(const void *record)
{
	__builtin_prefetch(record, 1);
}

static void check(struct exec *x, struct dsa_run *run)
{
	uint8_t status = dsa_desc_check(x->work->queue, run, run == &x->work->child);

	run->status = status ? status : DSA_COMP_SUCCESS;
	run->stage = DSA_STAGE_BODY;
	if (!x->mem->view && wants_record(run))
		fetch_record((const void *)(uintptr_t)run->d.record);
}

static int batch(struct exec *x, struct dsa_run *run);

/* 0: it has ended; BLOCKED, ABORTED, YIELDED. */
static int execute(struct exec *x, struct dsa_run *run)
{
	int ret = 0;

	if (run->stage == DSA_STAGE_CHECK) {
		check(x, run);
		if (run->status != DSA_COMP_SUCCESS)
			return complete(x, run);
	}
	if (run->stage == DSA_STAGE_BODY && run->status == DSA_COMP_SUCCESS)
		ret = run->d.op == DSA_OPCODE_BATCH ? batch(x, run) : body(x, run);
	if (ret)
		return ret;
	run->stage = DSA_STAGE_RECORD;
	/* Pages that were lost under us read as zeros: what came of them is no result. */
	if (x->mem->view && vdpa_view_broken(x->mem->view))
		run->status = DSA_COMP_HW_ERR1;
	return complete(x, run);
}

/* ---- batches ---- */

static void batch_over(struct dsa_run *run, uint8_t status)
{
	run->status = status;
	run->completed = (uint32_t)run->done;
}

/* Copy descriptor @at. False: that cannot be, run->status says why. */
static bool batch_read(struct exec *x, struct dsa_run *run, uint64_t at)
{
	struct dsa_run *child = &x->work->child;
	uint8_t raw[DSA_DESC_BYTES];
	int ret;

	do {
		ret = dsa_mem_read(x->mem, run->d.src + at * DSA_DESC_BYTES, raw, DSA_DESC_BYTES);
		if (ret)
			ret = on_fault(x, run, ret, DSA_COMP_BATCH_PAGE_FAULT);
		else
			break;
	} while (!ret);
	if (ret) {
		batch_over(run, run->status);
		return false;
	}
	memset(child, 0, sizeof(*child));
	dsa_desc_parse(&child->d, raw);
	return true;
}

/*
 * The place of the first one behind the next that may not begin before the next has ended: it has a
 * fence, or cannot be read, or is too far away.
 */
static uint32_t batch_fence(struct exec *x, const struct dsa_run *run)
{
	uint64_t at = run->done + 1, last = run->done + BATCH_WINDOW;

	for (; at < run->d.size && at < last; at++) {
		uint32_t flags = 0;

		if (dsa_mem_read(x->mem, run->d.src + at * DSA_DESC_BYTES + sizeof(flags), &flags,
				 sizeof(flags)) ||
		    le32toh(flags) & IDXD_OP_FLAG_FENCE)
			break;
	}
	x->mem->limit = SIZE_MAX;
	return (uint32_t)at;
}

/* Copy the next descriptor. False: there is none to execute, run->status says why. */
static bool batch_next(struct exec *x, struct dsa_run *run)
{
	const struct dsa_run *child = &x->work->child;
	bool reversed = x->work->queue->config.batch_reversed;

	if (run->done == run->d.size) {
		batch_over(run, run->batch.failed ? DSA_COMP_BATCH_FAIL : DSA_COMP_SUCCESS);
		return false;
	}
	if (run->done == run->batch.end) {
		if (!batch_read(x, run, run->done))
			return false;
		if (run->batch.failed && has(child, IDXD_OP_FLAG_FENCE)) {
			batch_over(run, DSA_COMP_BATCH_FAIL);
			return false;
		}
		run->batch.first = (uint32_t)run->done;
		run->batch.end = reversed ? batch_fence(x, run) : run->batch.first + 1;
	}
	run->batch.at = run->batch.first + (run->batch.end - 1 - (uint32_t)run->done);
	return run->batch.end - run->batch.first == 1 || batch_read(x, run, run->batch.at);
}

static int batch(struct exec *x, struct dsa_run *run)
{
	struct dsa_work *work = x->work;
	int ret;

	for (;;) {
		if (atomic_load_explicit(&work->abort, memory_order_relaxed))
			return ABORTED;
		if (slice_over(x))
			return YIELDED;
		if (!work->in_child && !batch_next(x, run))
			return 0;
		work->in_child = true;
		x->steps++;
		ret = execute(x, &work->child);
		if (ret)
			return ret;
		work->in_child = false;
		x->mem->limit = SIZE_MAX;
		run->done++;
		if (work->child.status != DSA_COMP_SUCCESS)
			run->batch.failed = true;
	}
}

enum dsa_outcome dsa_exec(struct dsa_worker *worker, struct dsa_work *work)
{
	struct exec x = {.worker = worker, .work = work, .mem = worker->mem};
	int ret;

	x.mem->view = work->space->views[worker->index].view;
	x.mem->limit = SIZE_MAX;
	if (x.mem->view)
		vdpa_view_refresh(x.mem->view);
	ret = atomic_load(&work->abort) ? ABORTED : execute(&x, &work->run);
	if (ret == ABORTED)
		work->run.status = DSA_COMP_NONE;
	return ret == BLOCKED ? DSA_BLOCKED : ret == YIELDED ? DSA_YIELDED : DSA_ENDED;
}
