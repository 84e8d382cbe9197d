/*
 * agent/methods.c - all tables of methods there are, in the order of the manual.
 */
#include "agent/method.h"

const struct rpc_method *const method_tables[] = { methods_core, methods_vm, methods_guest, methods_disk,
	methods_vhd, methods_file, methods_host, NULL };
