#include "controller/aws_sts.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static int add_form(struct pd_buf *form, const char *name, const char *value, struct pd_err *err)
{
    int rc = pd_buf_addf(form, err, "%s%s=", form->len > 0 ? "&" : "", name);

    for (; rc == 0 && *value; value++) {
        unsigned char c = (unsigned char)*value;
        rc = isalnum(c) || strchr("-_.~", c) ? pd_buf_add(form, &c, 1, err)
                                             : pd_buf_addf(form, err, "%%%02X", c);
    }
    return rc;
}

int pd_aws_sts_form(const struct pd_aws_source *source, const char *token, struct pd_buf *form,
                    struct pd_err *err)
{
    char seconds[16];

    snprintf(seconds, sizeof seconds, "%d", source->duration_s);
    if (add_form(form, "Action", token ? "AssumeRoleWithWebIdentity" : "AssumeRole", err) < 0 ||
        add_form(form, "Version", "2011-06-15", err) < 0 ||
        add_form(form, "RoleArn", source->role_arn, err) < 0 ||
        add_form(form, "RoleSessionName", source->session_name, err) < 0 ||
        (source->duration_s > 0 && add_form(form, "DurationSeconds", seconds, err) < 0) ||
        (source->external_id && *source->external_id &&
         add_form(form, "ExternalId", source->external_id, err) < 0) ||
        (token && add_form(form, "WebIdentityToken", token, err) < 0))
        return PD_LIMIT;
    return 0;
}
