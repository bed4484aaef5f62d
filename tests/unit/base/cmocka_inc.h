/* SPDX-License-Identifier: BSD-3-Clause */
/* cmocka wants these before itself. */
#ifndef TESTS_BASE_CMOCKA_INC_H
#define TESTS_BASE_CMOCKA_INC_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#endif
