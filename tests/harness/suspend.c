/* A machine that can be told that it has slept: the clock that counts sleep is ahead by what a file says, in seconds,
   and the timers that a wake-up cancels are a named pipe, into which whoever wakes the machine writes eight bytes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    const char *path = getenv("SUSPEND_SLEPT");
    FILE *file = clock == CLOCK_BOOTTIME && path ? fopen(path, "r") : NULL;
    long slept = 0;
    if (file && fscanf(file, "%ld", &slept) == 1) now->tv_sec += slept;
    if (file) fclose(file);
    return result;
}

int timerfd_create(clockid_t clock, int flags) {
    (void)clock;
    (void)flags;
    return open(getenv("SUSPEND_WAKE"), O_RDWR | O_NONBLOCK | O_CLOEXEC);
}

int timerfd_settime(int fd, int flags, const struct itimerspec *new, struct itimerspec *old) {
    (void)fd;
    (void)flags;
    (void)new;
    (void)old;
    return 0;
}
