/* Loaded in front of the C library, it makes the files below a directory fail as on a disk that went read-only or bad.
 *
 * FAULTY_DISK is the directory; the first letter of the file that FAULTY_DISK_MODE names says what fails:
 * "r" everything that writes, with EROFS; "s" every sync, with EIO; anything else nothing.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static char mode(void)
{
    char letter = 0;
    const char *name = getenv("FAULTY_DISK_MODE");
    int file = name ? (int)syscall(SYS_openat, AT_FDCWD, name, O_RDONLY) : -1;
    if (file >= 0) {
        if (syscall(SYS_read, file, &letter, 1) != 1)
            letter = 0;
        syscall(SYS_close, file);
    }
    return letter;
}

static int is_on_disk(const char *path)
{
    const char *disk = getenv("FAULTY_DISK");
    return disk && strncmp(path, disk, strlen(disk)) == 0;
}

static int is_open_on_disk(int file)
{
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length > 0 ? length : 0] = 0;
    return is_on_disk(path);
}

static int fails(int on_disk, char when, int with)
{
    if (!on_disk || mode() != when)
        return 0;
    errno = with;
    return 1;
}

#define REAL(name) ((typeof(&name))dlsym(RTLD_NEXT, #name))
#define FAILS_READ_ONLY(type, name, parameters, arguments, on_disk) \
    type name parameters { return fails(on_disk, 'r', EROFS) ? -1 : REAL(name) arguments; }

FAILS_READ_ONLY(ssize_t, write, (int file, const void *from, size_t size), (file, from, size), is_open_on_disk(file))
FAILS_READ_ONLY(ssize_t, pwrite, (int file, const void *from, size_t size, off_t at), (file, from, size, at), is_open_on_disk(file))
FAILS_READ_ONLY(ssize_t, pwrite64, (int file, const void *from, size_t size, off64_t at), (file, from, size, at), is_open_on_disk(file))
FAILS_READ_ONLY(int, ftruncate, (int file, off_t size), (file, size), is_open_on_disk(file))
FAILS_READ_ONLY(int, ftruncate64, (int file, off64_t size), (file, size), is_open_on_disk(file))
FAILS_READ_ONLY(int, unlink, (const char *path), (path), is_on_disk(path))
FAILS_READ_ONLY(int, rename, (const char *from, const char *to), (from, to), is_on_disk(to))

int fsync(int file) { return fails(is_open_on_disk(file), 's', EIO) ? -1 : REAL(fsync)(file); }
int fdatasync(int file) { return fails(is_open_on_disk(file), 's', EIO) ? -1 : REAL(fdatasync)(file); }

#define OPENS(name) \
    int name(const char *path, int flags, ...) \
    { \
        va_list rest; \
        va_start(rest, flags); \
        mode_t permissions = flags & O_CREAT ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        int writes = (flags & O_ACCMODE) != O_RDONLY || flags & O_CREAT; \
        return fails(writes && is_on_disk(path), 'r', EROFS) ? -1 : REAL(name)(path, flags, permissions); \
    }

OPENS(open)
OPENS(open64)
