/* Telling the service manager how it is: sd_notify(3)'s protocol, datagrams to
 * $NOTIFY_SOCKET, and its watchdog. Where there is no manager nothing happens. */
#ifndef PD_CLI_NOTIFY_H
#define PD_CLI_NOTIFY_H

#include <stdint.h>
#include <uv.h>

struct pd_notify {
    uv_timer_t watchdog;
    int fd; /* connected, or -1: nobody is told */
};

/* Takes $NOTIFY_SOCKET and $WATCHDOG_USEC; while the loop turns the watchdog is told
 * so, twice in its time. The timer lives in `notify` and does not keep the loop alive. */
void pd_notify_open(struct pd_notify *notify, uv_loop_t *loop);
void pd_notify_close(struct pd_notify *notify);

/* "READY=1", "STOPPING=1", "STATUS=..."; several lines in one text are one message. */
void pd_notify(struct pd_notify *notify, const char *text);

#endif
