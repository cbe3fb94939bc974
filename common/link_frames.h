/* What a link says and hears, as frames: the translation between the structs of
 * common/link.h and the fields of common/proto.h. Private to common/link*.c. */
#ifndef PD_COMMON_LINK_FRAMES_H
#define PD_COMMON_LINK_FRAMES_H

#include "common/link.h"
#include "common/proto.h"

/* The ATTACH payload. PD_LIMIT when the catalogue does not fit into a frame. */
int pd_link_encode_attach(struct pd_wire *wire, const struct pd_link_config *config,
                          const uint8_t nonce[8], struct pd_err *err);

/* The RUN payload but for its data: code and stdin are added by the caller as
 * far as there is room. */
void pd_link_encode_run(struct pd_wire *wire, const struct pd_run_request *request);

/* PD_INVALID for a path the agent would not take: absolute, "..", empty parts,
 * NULs, longer than 255 bytes. */
int pd_link_check_path(const char *path, struct pd_err *err);

/* These return false for a payload that is not well formed. */
bool pd_link_decode_hello(const struct pd_frame *frame, struct pd_hello *ret_hello);
bool pd_link_decode_exit(const struct pd_frame *frame, struct pd_run_result *ret_result);
/* The first field of that tag: false when there is none. */
bool pd_link_field(const struct pd_frame *frame, enum pd_field_tag tag, struct pd_field *ret_field);

#endif
