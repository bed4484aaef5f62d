// SPDX-License-Identifier: BSD-3-Clause
/*
 * For guests of QEMU's TCG, which has no MOVDIR64B: the kernel's own uses of it are carried out
 * here, when the processor finds the instruction undefined. The driver of the DSA, which needs it,
 * stays as it is. That there is one the kernel is told by setcpuid=movdir64b, or, before it knew
 * that word, here: modules that are loaded later ask boot_cpu_data.
 *
 * 64 bytes cannot be stored at once: a lock keeps the pieces of two processors apart, and the first
 * piece is stored last, since whoever looks at memory takes that for the sign that all are there.
 *
 * The driver lets two processors use one place at a time, now and then: a portal takes both. One
 * that is memory would keep the second alone, so that one waits until the first has been taken. A
 * portal that is not memory reads as 0.
 */
#include <linux/io.h>
#include <linux/kdebug.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/ptrace.h>
#include <linux/spinlock.h>
#include <asm/cpufeature.h>
#include <asm/trapnr.h>

static unsigned long count;
module_param(count, ulong, 0444);
MODULE_PARM_DESC(count, "instructions that were carried out");

/* Looks at a place that is not taken: then it is nobody's any more. */
#define LOOKS 100000000

static DEFINE_RAW_SPINLOCK(store_lock);

static unsigned long reg(const struct pt_regs *r, unsigned int n)
{
	const unsigned long values[16] = {r->ax,  r->cx,  r->dx,  r->bx, r->sp,	 r->bp,
					  r->si,  r->di,  r->r8,  r->r9, r->r10, r->r11,
					  r->r12, r->r13, r->r14, r->r15};

	return values[n];
}

struct insn {
	unsigned int len;
	unsigned long from, to;
};

/* 66 [REX] 0F 38 F8 /r, with the source in memory at a register, with or without displacement. */
static bool decode(const struct pt_regs *regs, struct insn *insn)
{
	const u8 *start = (const u8 *)regs->ip, *p = start;
	unsigned int rex = 0, mod, rm;
	s32 disp = 0;

	if (*p++ != 0x66)
		return false;
	if ((*p & 0xf0) == 0x40)
		rex = *p++;
	if (p[0] != 0x0f || p[1] != 0x38 || p[2] != 0xf8)
		return false;
	p += 3;
	mod = *p >> 6;
	rm = *p & 7;
	if (mod == 3 || rm == 4 || (!mod && rm == 5))
		return false;
	insn->to = reg(regs, (*p >> 3 & 7) | (rex & 4) << 1);
	p++;
	if (mod == 1) {
		disp = *(const s8 *)p;
		p += 1;
	} else if (mod == 2) {
		memcpy(&disp, p, 4);
		p += 4;
	}
	insn->from = reg(regs, rm | (rex & 1) << 3) + disp;
	insn->len = p - start;
	return true;
}

static void store(const struct insn *insn)
{
	void __iomem *to = (void __iomem *)insn->to;
	unsigned long flags;
	u64 piece[8];
	int i;

	memcpy(piece, (const void *)insn->from, sizeof(piece));
	raw_spin_lock_irqsave(&store_lock, flags);
	for (i = 0; i < LOOKS && readq(to); i++)
		cpu_relax();
	for (i = 1; i < 8; i++)
		writeq(piece[i], to + i * 8);
	wmb();
	writeq(piece[0], to);
	count++;
	raw_spin_unlock_irqrestore(&store_lock, flags);
}

static int died(struct notifier_block *nb, unsigned long event, void *data)
{
	struct die_args *args = data;
	struct insn insn;

	if (event != DIE_TRAP || args->trapnr != X86_TRAP_UD || user_mode(args->regs) ||
	    !decode(args->regs, &insn))
		return NOTIFY_DONE;
	store(&insn);
	args->regs->ip += insn.len;
	return NOTIFY_STOP;
}

static struct notifier_block block = {.notifier_call = died};

static int __init movdir64b_init(void)
{
	if (!boot_cpu_has(X86_FEATURE_MOVDIR64B))
		set_cpu_cap(&boot_cpu_data, X86_FEATURE_MOVDIR64B);
	return register_die_notifier(&block);
}

static void __exit movdir64b_exit(void)
{
	unregister_die_notifier(&block);
}

module_init(movdir64b_init);
module_exit(movdir64b_exit);
MODULE_DESCRIPTION("MOVDIR64B for the kernel of a processor that has none");
MODULE_LICENSE("Dual BSD/GPL");
