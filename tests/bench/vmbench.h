/* vmbench.h - the parts of vmbench: the measured processes, KVM's counters and events, the network's peer. */
#ifndef VMBENCH_H
#define VMBENCH_H

#include <stddef.h>
#include <sys/types.h>

enum { MAX_PROCESSES = 256, MAX_THREADS = 1024 };

/* vmbench.c: one figure of this monitor and test on standard output. */
void out(const char *figure, double value);
double now(void);
void put(const char *path, const char *text);

/* vmbench_tree.c: the processes of the monitor, that is every descendant of ours that is no helper. */
struct memory {
	double hwm, rss, pss, guest, anonymous; /* KiB */
	double cpu_ms;
	int processes, threads, fds;
};

struct thread {
	pid_t id;
	long sleeps; /* how often it went to sleep: voluntary context switches */
};

void tree_helper(pid_t pid);
void tree_memory(struct memory *m, long guest_mib);
/* Processor time of its busiest thread, which is the one that runs the guest, and of all others. */
void tree_cpu(double *busiest_ms, double *others_ms);
size_t tree_threads(struct thread *list, size_t max);
void tree_kill(void);

/* vmbench_kvm.c: what KVM counts (debugfs) and tells (tracefs). */
double kvm_counter(const char *name);
void kvm_counters(void);
void kvm_trace_entry(int on);
double kvm_first_entry(void); /* CLOCK_MONOTONIC, 0 if there was none */
void kvm_hist_on(const char *event, const char *keys);
/* Calls use() for every row, its text being what stands between the braces, then takes the histogram away. */
void kvm_hist_off(
    const char *event, const char *keys, void (*use)(void *ctx, const char *row, double hits), void *ctx);

/* vmbench_lost.c: is the guest one that the emulator has spoilt? */
int lost_line(const char *line);      /* what it said: 1 when that is its end */
int lost_silence(void);               /* it has said nothing for a while: 1 when it never will */
int lost_how(char *how, size_t size); /* it has come to no result; how: the rest of a sentence about it */

/* vmbench_net.c: tap0 and who answers behind it. */
pid_t net_peer(void);
/* Packets that it has carried so far, both ways. */
double net_packets(void);

#endif
