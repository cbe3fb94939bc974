/* A run's terminal: a pseudo-terminal (pty(7)) of the container's devpts, whose
 * master stays with the agent. The program gets the other side on its three
 * standard descriptors and as its controlling terminal; echo, line editing, ^C,
 * ^D and ^Z are the kernel's line discipline's work.
 *
 * A terminal is made for a run and closed with it: the kernel then hangs it up,
 * and nothing of it (settings, typed input, its number) is there for the next. */
#include <asm/ioctls.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/sys.h"

int terminal_open(const struct platform *platform, const struct slot *slot, int *ret_master,
                  int *ret_slave)
{
    int unlocked = 0;
    int master = openat(platform->pts_fd, "ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    int slave = -1;

    if (master < 0)
        return -errno;
    if (ioctl(master, TIOCSPTLCK, &unlocked) == 0)
        slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave < 0) {
        int result = -errno;
        close(master);
        return result;
    }
    if (slot->uid)
        (void)!fchown(slave, slot->uid, slot->uid); /* so that it can be opened by its name, too */
    *ret_master = master;
    *ret_slave = slave;
    return 0;
}

void terminal_resize(int master, uint16_t rows, uint16_t cols)
{
    const struct winsize size = {.ws_row = rows, .ws_col = cols};

    if (master >= 0 && rows > 0 && cols > 0)
        (void)!ioctl(master, TIOCSWINSZ, &size); /* which sends SIGWINCH where it changes */
}

/* What ^D is to it now; 0 where it reads no lines, and so knows no end. */
static char eof_character(int master)
{
    struct termios now;

    if (tcgetattr(master, &now) < 0 || !(now.c_lflag & ICANON))
        return 0;
    return (char)now.c_cc[VEOF];
}

bool terminal_end_input(int master)
{
    char eof = eof_character(master);

    return eof == 0 || write(master, &eof, 1) == 1 || errno != EAGAIN;
}
