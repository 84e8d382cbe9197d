/*
 * tests/lab/guest/tool.h - the parts of guest-tool. Each takes its arguments and returns an exit status.
 */
#ifndef TESTS_LAB_GUEST_TOOL_H
#define TESTS_LAB_GUEST_TOOL_H

int tool_clocks(char **args);
int tool_memsum(char **args);
int tool_memhold(char **args);
int tool_busy(char **args);
int tool_nested(char **args);
int tool_button(char **args);
int tool_cpuid(char **args);
int tool_io(char **args);
int tool_iocheck(char **args);
int tool_watch(char **args);
int tool_eject(char **args);
int tool_variable(char **args);
int tool_kexec(char **args);
int tool_sock_serve(char **args);
int tool_sock_call(char **args);
int tool_udp_send(char **args);
int tool_udp_receive(char **args);

#endif
