// SPDX-License-Identifier: BSD-3-Clause
#include "rpc.h"
const struct rpc_method rpc_drv_methods[] = {
	{NULL, NULL, NULL, NULL},
};
