/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_PATIENCE_H
#define TESTS_PATIENCE_H

/* For what must come. Who shares the machine can keep its processors for many seconds; what is lost
 * never comes. */
#define PATIENCE_NS 60000000000ll

#endif
