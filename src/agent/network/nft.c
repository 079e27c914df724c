#include "agent/network/nft.h"

#include <errno.h>
#include <nftables/libnftables.h>
#include <string.h>

#include "base/alloc.h"

DEFINE_CLEANUP(struct nft_ctx *, nft_ctx_free)

/* A context holds a netlink socket of the namespace that it was made in, hence one per call. */
static struct nft_ctx *context(void)
{
    struct nft_ctx *ctx = nft_ctx_new(NFT_CTX_DEFAULT);

    if (ctx) {
        nft_ctx_buffer_output(ctx);
        nft_ctx_buffer_error(ctx);
    }
    return ctx;
}

int nft_apply(const char *commands, struct gw_error *err)
{
    _cleanup_(nft_ctx_freep) struct nft_ctx *ctx = context();

    if (!ctx)
        return gw_error_errno(err, ENOMEM, "cannot use nftables");
    if (nft_run_cmd_from_buffer(ctx, commands) != 0)
        return gw_error_set(err, GW_INTERNAL_ERROR, "nftables refused a rule set: %s", nft_ctx_get_error_buffer(ctx));
    return 0;
}

char *nft_list(const char *command)
{
    _cleanup_(nft_ctx_freep) struct nft_ctx *ctx = context();

    if (!ctx || nft_run_cmd_from_buffer(ctx, command) != 0)
        return NULL;
    return xstrdup(nft_ctx_get_output_buffer(ctx));
}
