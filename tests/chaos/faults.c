/* Preloaded into every process of a run: counts what happens to files under a folder, and makes one of these acts fail.
   The variables pass wherever LD_PRELOAD does:


   LD_CHAOS_ROOT    the folder
   LD_CHAOS_FAULT   NAME:N, what becomes of the N-th act: kill, stop, eio, enospc, short, clock; or network, which counts
                 what is received; or none
   LD_CHAOS_LEDGER  a file of `struct ledger`, shared by all processes of the run
   LD_CHAOS_BOOT    a file that stands for the machine's boot id

   They are read when a program starts, and when chaos_begin is called. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define ENTRIES 65536
#define JUMP_S (86400L * 4000)

/* synced: -1 the file was written, else its size when it was synced */
struct entry { unsigned long inode; long synced; };
struct ledger { atomic_long acts, received, entries, fired; struct entry entry[ENTRIES]; };

static struct ledger *ledger;
static char root[PATH_MAX], boot[PATH_MAX], fault[16];
static size_t root_length;
static long when = -1;

__attribute__((constructor)) void chaos_begin(void) {
  const char *folder = getenv("LD_CHAOS_ROOT"), *file = getenv("LD_CHAOS_LEDGER"), *what = getenv("LD_CHAOS_FAULT");
  if (!folder || !file || !what) return;
  int descriptor = open(file, O_RDWR | O_CLOEXEC);
  if (descriptor < 0) return;
  void *shared = mmap(NULL, sizeof *ledger, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  close(descriptor);
  if (shared == MAP_FAILED) return;
  snprintf(root, sizeof root, "%s/", folder);
  root_length = strlen(root);
  if (getenv("LD_CHAOS_BOOT")) snprintf(boot, sizeof boot, "%s", getenv("LD_CHAOS_BOOT"));
  sscanf(what, "%15[a-z]:%ld", fault, &when);
  ledger = shared;
}

static int is_inside(int descriptor) {
  char link[64], path[PATH_MAX];
  if (!ledger || descriptor < 0) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  ssize_t length = readlink(link, path, sizeof path - 1);
  return length >= (ssize_t)root_length && strncmp(path, root, root_length) == 0;
}

static void note(int descriptor, int is_sync) {
  struct stat status;
  if (fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) return;
  long at = atomic_fetch_add(&ledger->entries, 1);
  if (at >= ENTRIES) abort();
  ledger->entry[at] = (struct entry){status.st_ino, is_sync ? (long)status.st_size : -1};
}

/* Counts an act. Returns the error with which it fails, 0: it goes on, -1: half of it is done. */
static int act(void) {
  if (atomic_fetch_add(&ledger->acts, 1) + 1 != when) return 0;
  if (strcmp(fault, "kill") == 0) kill(getpid(), SIGKILL);
  if (strcmp(fault, "stop") == 0) for (atomic_store(&ledger->fired, 1);;) pause();
  if (strcmp(fault, "clock") == 0) atomic_store(&ledger->fired, 1);
  if (strcmp(fault, "eio") == 0) return EIO;
  if (strcmp(fault, "enospc") == 0) return ENOSPC;
  return strcmp(fault, "short") == 0 ? -1 : 0;
}

#define NEXT(name) ({ static __typeof__(&name) next; if (!next) next = dlsym(RTLD_NEXT, #name); next; })
#define FAIL(error) do { errno = (error); return -1; } while (0)

ssize_t write(int descriptor, const void *data, size_t size) {
  if (is_inside(descriptor)) {
    int error = act();
    if (error > 0) FAIL(error);
    if (error < 0 && size > 1) size /= 2;
    note(descriptor, 0);
  }
  return NEXT(write)(descriptor, data, size);
}

int fsync(int descriptor) {
  int inside = is_inside(descriptor), error = inside ? act() : 0;
  if (error > 0) FAIL(error);
  int result = NEXT(fsync)(descriptor);
  if (inside && result == 0) note(descriptor, 1);
  return result;
}

static int starts(const char *path) { return ledger && strncmp(path, root, root_length) == 0; }

int rename(const char *from, const char *to) {
  int error = starts(to) ? act() : 0;
  if (error > 0) FAIL(error);
  return NEXT(rename)(from, to);
}

int link(const char *from, const char *to) {
  int error = starts(to) ? act() : 0;
  if (error > 0) FAIL(error);
  return NEXT(link)(from, to);
}

ssize_t recv(int descriptor, void *data, size_t size, int flags) {
  if (ledger && atomic_fetch_add(&ledger->received, 1) + 1 == when && strcmp(fault, "network") == 0) FAIL(ECONNRESET);
  return NEXT(recv)(descriptor, data, size, flags);
}

static const char *instead(const char *path) {
  return boot[0] && strcmp(path, "/proc/sys/kernel/random/boot_id") == 0 ? boot : path;
}

#define OPEN(name)                                                    \
  int name(const char *path, int flags, ...) {                        \
    va_list rest;                                                     \
    va_start(rest, flags);                                            \
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
    va_end(rest);                                                     \
    return NEXT(name)(instead(path), flags, mode);                    \
  }
OPEN(open)
OPEN(open64)

static int is_ahead(void) { return ledger && strcmp(fault, "clock") == 0 && atomic_load(&ledger->fired); }

int clock_gettime(clockid_t clock, struct timespec *now) {
  int result = NEXT(clock_gettime)(clock, now);
  if (result == 0 && clock == CLOCK_REALTIME && is_ahead()) now->tv_sec += when % 2 ? JUMP_S : -JUMP_S;
  return result;
}
