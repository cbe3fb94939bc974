/* What kubectl 1.28 still asks of OpenAPI v2, in the only form that it reads:
 * protocol buffers (protobuf.dev/programming-guides/encoding; messages of
 * gnostic's openapiv2/OpenAPIv2.proto). It says one thing: that PATCH of our kinds
 * knows fieldValidation; all else is in v3. */
#ifndef PD_API_KUBE_OPENAPI_V2_H
#define PD_API_KUBE_OPENAPI_V2_H

#include "api/kube_kind.h"
#include "common/buf.h"

#define PD_KUBE_OPENAPI_V2_TYPE "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
#define PD_KUBE_OPENAPI_V2_BYTES_MAX (64u * 1024)

/* Append the document to `out`, initialised with this maximum. */
void pd_kube_openapi_v2(const struct pd_kube_kinds *kinds, struct pd_buf *out);

#endif
