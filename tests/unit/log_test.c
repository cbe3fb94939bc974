#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/err.h"
#include "common/log.h"
#include "common/mem.h"

/* stderr as a file, while a test logs. */
struct capture {
    int saved;
    FILE *file;
    char text[16384];
};

static void capture_begin(struct capture *capture)
{
    capture->file = tmpfile();
    capture->saved = dup(STDERR_FILENO);
    assert_true(capture->file && capture->saved >= 0);
    assert_int_equal(dup2(fileno(capture->file), STDERR_FILENO), STDERR_FILENO);
}

static size_t raw_end(struct capture *capture)
{
    size_t len;

    dup2(capture->saved, STDERR_FILENO);
    close(capture->saved);
    rewind(capture->file);
    len = fread(capture->text, 1, sizeof capture->text - 1, capture->file);
    capture->text[len] = '\0';
    fclose(capture->file);
    return len;
}

/* What was logged, without the time stamp at its start. */
static const char *capture_end(struct capture *capture)
{
    if (raw_end(capture) == 0)
        return "";
    assert_int_equal(strncmp(capture->text, "ts=20", 5), 0);
    assert_non_null(strchr(capture->text, ' '));
    return strchr(capture->text, ' ') + 1;
}

static void a_line_is_logfmt(void **state)
{
    struct capture capture;

    (void)state;
    capture_begin(&capture);
    pd_log(PD_LOG_WARN, "test", "it is so", "pool", "py", "took_ms", PD_NUM(-412), "gone", NULL,
           "err", "a \"b\"\n\x1b\\c=", "empty", "", NULL);
    assert_string_equal(capture_end(&capture),
                        "level=warn comp=test msg=\"it is so\" pool=py took_ms=-412 "
                        "err=\"a \\\"b\\\"\\n\\x1b\\\\c=\" empty=\"\"\n");
}

static void what_is_below_the_threshold_is_not_there(void **state)
{
    enum pd_log_level level;
    struct capture capture;

    (void)state;
    capture_begin(&capture);
    pd_log(PD_LOG_DEBUG, "test", "no", NULL);
    assert_int_equal(pd_log_level_parse("error", &level), 0);
    pd_log_level_set(level);
    pd_log(PD_LOG_WARN, "test", "no", NULL);
    pd_log(PD_LOG_ERROR, "test", "yes", NULL);
    pd_log_level_set(PD_LOG_INFO);
    assert_string_equal(capture_end(&capture), "level=error comp=test msg=yes\n");
    assert_int_equal(pd_log_level_parse("loud", &level), PD_INVALID);
}

/* However much is said, it is one line, and the line ends. */
static void long_values_are_cut(void **state)
{
    struct capture capture;
    char text[8000];
    const char *line;

    (void)state;
    memset(text, '\x01', sizeof text);
    text[sizeof text - 1] = '\0';
    capture_begin(&capture);
    pd_log(PD_LOG_INFO, "test", "long", "a", text, "b", text, "c", text, NULL);
    line = capture_end(&capture);
    assert_true(strlen(line) <= 4096);
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
    assert_null(strchr(line, '\x01'));
}

static void a_line_is_json(void **state)
{
    struct capture capture;
    char longer[3000];

    (void)state;
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    pd_log_format_set(PD_LOG_JSON);
    capture_begin(&capture);
    pd_log(PD_LOG_WARN, "test", "it is so", "took_ms", PD_NUM(-412), "gone", NULL, "err",
           "a \"b\"\n\\\xff\xc3\xa9", "empty", "", NULL);
    pd_log(PD_LOG_WARN, "test", "much", "a", longer, "b", longer, "c", longer, "d", longer, "e",
           longer, "f", "short", NULL);
    pd_log_format_set(PD_LOG_LOGFMT);
    raw_end(&capture);
    assert_non_null(strstr(capture.text,
                           "\"level\":\"warn\",\"comp\":\"test\",\"msg\":\"it is so\","
                           "\"took_ms\":\"-412\",\"err\":\"a \\\"b\\\"\\u000a\\\\\xef\xbf\xbd\xc3\xa9\","
                           "\"empty\":\"\"}\n"));
    assert_int_equal(strncmp(capture.text, "{\"ts\":\"20", 9), 0);
    assert_non_null(strstr(capture.text, "\"c\":\"xxx"));
    assert_null(strstr(capture.text, "\"d\":"));
    assert_non_null(strstr(capture.text, "\"f\":\"short\"}\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_logfmt),
        cmocka_unit_test(a_line_is_json),
        cmocka_unit_test(what_is_below_the_threshold_is_not_there),
        cmocka_unit_test(long_values_are_cut),
    };

    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
