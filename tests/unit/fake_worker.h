/*
 * tests/unit/fake_worker.h - a worker as main.c makes it, without its process: on a fake KVM, without walls
 * (-Wl,--wrap=walls_close_control,--wrap=walls_close_processor), its controller at our end of a socket.
 */
#ifndef TESTS_UNIT_FAKE_WORKER_H
#define TESTS_UNIT_FAKE_WORKER_H

#include <dirent.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "hypervisor/sandbox/walls.h"
#include "hypervisor/worker/worker.h"
#include "lib/log.h"
#include "tests/unit/fake_partition.h"

#ifndef FAKE_SENDMSG /* another where sendmsg is made to fail */
#define FAKE_SENDMSG sendmsg
#endif

struct fake_worker {
	struct worker w;
	int peer; /* the controller's end */
	char heard[CONTROL_MAX + 1];
};

int __wrap_walls_close_control(struct err *e);
int __wrap_walls_close_processor(struct err *e);
int __wrap_walls_close_io(struct err *e);

int
__wrap_walls_close_control(struct err *e)
{
	(void)e;
	return 0;
}

int
__wrap_walls_close_processor(struct err *e)
{
	(void)e;
	return 0;
}

int
__wrap_walls_close_io(struct err *e)
{
	(void)e;
	return 0;
}

static inline size_t
fake_open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	size_t n = 0;

	if (!d)
		abort();
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static inline void
fake_worker_init(struct fake_worker *f)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(sa_family_t); /* the kernel finds a name */
	int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	log_open("test", 2, (enum log_level)0);
	memset(f, 0, sizeof(*f));
	f->w.host.kvm_fd = fake_kvm_open();
	for (int i = 0; i < MACHINE_COM_PORTS; i++)
		f->w.console[i].fd = -1;
	if (bind(listener, (struct sockaddr *)&a, len) < 0 || listen(listener, 1) < 0)
		abort();
	len = sizeof(a);
	getsockname(listener, (struct sockaddr *)&a, &len);
	if (vcpu_setup_signal(NULL) < 0 ||
	    control_new(&f->w.control, listener, worker_methods, &f->w, NULL) < 0 ||
	    disks_new(&f->w.disks, f->w.control, NULL) < 0 || nics_new(&f->w.nics, f->w.control, NULL) < 0)
		abort();
	f->peer = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (connect(f->peer, (struct sockaddr *)&a, len) < 0)
		abort();
	control_handle(f->w.control);
}

static inline void
fake_worker_free(struct fake_worker *f)
{
	for (int i = 0; i < MACHINE_COM_PORTS; i++)
		if (f->w.console[i].fd >= 0)
			console_detach(&f->w.console[i]);
	nics_free(f->w.nics);
	f->w.nics = NULL;
	services_free(&f->w);
	disks_free(f->w.disks);
	f->w.disks = NULL;
	fake_partition_free(f->w.p);
	if (f->w.p || f->w.state != STATE_NONE)
		machine_close(&f->w.machine);
	f->w.p = NULL;
	control_free(f->w.control);
	close(f->peer);
	fake_kvm_close();
}

/* The next packet that came from the worker; "" when there is none. */
static inline const char *
fake_told(struct fake_worker *f)
{
	ssize_t n = recv(f->peer, f->heard, CONTROL_MAX, MSG_DONTWAIT);

	f->heard[n > 0 ? n : 0] = '\0';
	return f->heard;
}

/* Sends a request with a descriptor (-1: none) and has it carried out. */
static inline void
fake_ask(struct fake_worker *f, const char *text, const int *fd, size_t nfds)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(CONTROL_MAX_FDS * sizeof(int))];
	} anc = { 0 };
	struct iovec iov = { .iov_base = (char *)(uintptr_t)text, .iov_len = strlen(text) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (nfds) {
		anc.header.cmsg_level = SOL_SOCKET;
		anc.header.cmsg_type = SCM_RIGHTS;
		anc.header.cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(&anc.header), fd, nfds * sizeof(int));
		m.msg_control = anc.bytes;
		m.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
	}
	if (FAKE_SENDMSG(f->peer, &m, MSG_NOSIGNAL) < 0)
		abort();
	control_handle(f->w.control);
}

#endif
