/* Bad inputs and what is to be said of them: tests/fixtures/<kind>/<case>/ with
 * the files `input` and `error`. */
#ifndef PD_TESTS_LIB_FIXTURES_H
#define PD_TESTS_LIB_FIXTURES_H

#include <stddef.h>

/* What the subject says of a text: one line for each problem, "" when it is
 * content. The caller frees. */
typedef char *(*pd_fixture_cb)(void *arg, const char *text, size_t len);

/* Runs every case of this kind, prints each difference, then fails the test if
 * there was any. */
void pd_fixtures_run(const char *kind, pd_fixture_cb cb, void *arg);

#endif
