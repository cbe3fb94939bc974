/* The API's reference: GET /openapi.json (OpenAPI 3.1), GET /docs, a page that shows it,
 * and GET /asyncapi.yaml (AsyncAPI 3.0), the frames of live output. The document is api/reference/openapi.yaml with the schema of POST
 * /execute put in; made once, at start. */
#ifndef PD_API_REFERENCE_H
#define PD_API_REFERENCE_H

struct pd_exchange;
struct pd_reference;

struct pd_reference *pd_reference_new(void);
void pd_reference_free(struct pd_reference *reference); /* NULL is fine */

/* pd_route_cbs; arg is a struct pd_api_context. */
void pd_openapi_handle(void *arg, struct pd_exchange *exchange);
void pd_asyncapi_handle(void *arg, struct pd_exchange *exchange);
void pd_docs_handle(void *arg, struct pd_exchange *exchange);      /* the page */
void pd_docs_file_handle(void *arg, struct pd_exchange *exchange); /* /docs/{} */

#endif
