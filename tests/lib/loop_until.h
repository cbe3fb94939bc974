/* Run a loop until something has happened, or fail the test. */
#ifndef PD_TESTS_LIB_LOOP_UNTIL_H
#define PD_TESTS_LIB_LOOP_UNTIL_H

#include <stdbool.h>
#include <uv.h>

/* Turn the loop until *done; false when timeout_ms passed first. */
bool pd_loop_until(uv_loop_t *loop, const volatile bool *done, int timeout_ms)
    __attribute__((warn_unused_result));

/* Turn the loop for so long, whatever happens. */
void pd_loop_for(uv_loop_t *loop, int ms);

/* Close the loop once its last handle is gone; false when some handle still is
 * there after timeout_ms (a leak of the code under test). */
bool pd_loop_finish(uv_loop_t *loop, int timeout_ms) __attribute__((warn_unused_result));

#endif
