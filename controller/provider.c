#include "controller/provider.h"

#include <assert.h>

void pd_provider_check(const struct pd_provider *provider)
{
    const struct pd_provider_ops *ops = provider->ops;

    assert(provider->instance && provider->instance[0]);
    assert(ops && ops->name && ops->ensure_ready && ops->create && ops->list && ops->destroy);
    assert(ops->watch && ops->link && ops->close);
}
