/* BearSSL does the protocol and no I/O: it has buffers to be filled and emptied,
 * and says which. The peer's certificate does not matter: whatever it says, its
 * key is taken to be the owner's, so that only who holds that key can finish the
 * handshake (br_x509_knownkey). All memory is static. */
#include <bearssl.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "agent/ecs/ecs.h"

struct session {
    br_ssl_server_context server;
    br_x509_knownkey_context peer;
    unsigned char buffer[BR_SSL_BUFSIZE_BIDI];
};

/* Of this process alone, which is the front and nothing else. */
static struct session sessions[ECS_SESSIONS_MAX];
static struct {
    uint8_t owner[ECS_POINT_BYTES];
    unsigned char scalar[BR_EC_KBUF_PRIV_MAX_SIZE], point[BR_EC_KBUF_PUB_MAX_SIZE];
    br_ec_private_key key;
    uint8_t certificate[CERTIFICATE_BYTES_MAX];
    br_x509_certificate chain;
    br_x500_name name;
} own;

static size_t sign(const uint8_t hash[32], uint8_t *out)
{
    return br_ecdsa_sign_asn1_get_default()(br_ec_get_default(), &br_sha256_vtable, hash, &own.key,
                                            out);
}

bool tls_init(const uint8_t owner[ECS_POINT_BYTES])
{
    br_hmac_drbg_context random;
    br_ec_public_key public;
    uint8_t seed[48];
    size_t name_len;

    memcpy(own.owner, owner, ECS_POINT_BYTES);
    if (getrandom(seed, sizeof seed, 0) != sizeof seed)
        return false;
    br_hmac_drbg_init(&random, &br_sha256_vtable, seed, sizeof seed);
    memset(seed, 0, sizeof seed);
    if (br_ec_keygen(&random.vtable, br_ec_get_default(), &own.key, own.scalar, BR_EC_secp256r1) ==
            0 ||
        br_ec_compute_pub(br_ec_get_default(), &public, own.point, &own.key) != ECS_POINT_BYTES)
        return false;
    own.chain.data = own.certificate;
    own.chain.data_len = certificate_make(own.point, sign, own.certificate);
    own.name.data = (unsigned char *)(uintptr_t)certificate_name(&name_len);
    own.name.len = name_len;
    return own.chain.data_len > 0;
}

bool tls_open(unsigned i)
{
    struct session *session = &sessions[i];
    const br_ec_public_key owner = {BR_EC_secp256r1, own.owner, ECS_POINT_BYTES};
    br_ssl_engine_context *engine = &session->server.eng;
    uint8_t seed[32];

    memset(session, 0, sizeof *session);
    br_ssl_server_init_minf2g(&session->server, &own.chain, 1, &own.key);
    br_ssl_engine_set_default_aes_gcm(engine);
    br_ssl_engine_set_default_ec(engine);
    br_ssl_engine_set_default_ecdsa(engine);
    br_ssl_server_set_single_ec(&session->server, &own.chain, 1, &own.key, BR_KEYTYPE_SIGN, 0,
                                br_ec_get_default(), br_ecdsa_sign_asn1_get_default());
    br_x509_knownkey_init_ec(&session->peer, &owner, BR_KEYTYPE_SIGN);
    br_ssl_engine_set_x509(engine, &session->peer.vtable);
    br_ssl_server_set_trust_anchor_names(&session->server, &own.name, 1);
    br_ssl_engine_add_flags(engine, BR_OPT_NO_RENEGOTIATION);
    br_ssl_engine_set_buffer(engine, session->buffer, sizeof session->buffer, 1);
    if (getrandom(seed, sizeof seed, 0) != sizeof seed)
        return false;
    br_ssl_engine_inject_entropy(engine, seed, sizeof seed);
    return br_ssl_server_reset(&session->server) == 1;
}

unsigned tls_state(unsigned i)
{
    unsigned state = br_ssl_engine_current_state(&sessions[i].server.eng), out = 0;

    if (state == BR_SSL_CLOSED)
        return 0;
    out |= state & BR_SSL_RECVREC ? TLS_WANTS_READ : 0;
    out |= state & BR_SSL_SENDREC ? TLS_WANTS_WRITE : 0;
    out |= state & BR_SSL_RECVAPP ? TLS_HAS_DATA : 0;
    out |= state & BR_SSL_SENDAPP ? TLS_TAKES_DATA : 0;
    return out;
}

bool tls_receive(unsigned i, int fd)
{
    br_ssl_engine_context *engine = &sessions[i].server.eng;
    size_t len;
    unsigned char *room = br_ssl_engine_recvrec_buf(engine, &len);
    ssize_t n = room ? read(fd, room, len) : 0;

    if (!room || (n < 0 && (errno == EAGAIN || errno == EINTR)))
        return true;
    if (n <= 0)
        return false;
    br_ssl_engine_recvrec_ack(engine, (size_t)n);
    return true;
}

bool tls_send(unsigned i, int fd)
{
    br_ssl_engine_context *engine = &sessions[i].server.eng;
    size_t len;
    unsigned char *data;

    while ((data = br_ssl_engine_sendrec_buf(engine, &len))) {
        ssize_t n = write(fd, data, len);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        br_ssl_engine_sendrec_ack(engine, (size_t)n);
    }
    return true;
}

const uint8_t *tls_data(unsigned i, size_t *ret_len)
{
    return br_ssl_engine_recvapp_buf(&sessions[i].server.eng, ret_len);
}

void tls_used(unsigned i, size_t len)
{
    br_ssl_engine_recvapp_ack(&sessions[i].server.eng, len);
}

uint8_t *tls_room(unsigned i, size_t *ret_len)
{
    return br_ssl_engine_sendapp_buf(&sessions[i].server.eng, ret_len);
}

void tls_filled(unsigned i, size_t len)
{
    br_ssl_engine_sendapp_ack(&sessions[i].server.eng, len);
    br_ssl_engine_flush(&sessions[i].server.eng, 0);
}

void tls_end(unsigned i)
{
    br_ssl_engine_close(&sessions[i].server.eng);
}
