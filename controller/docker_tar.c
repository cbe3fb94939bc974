#include "controller/docker_tar.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define BLOCK 512

/* The ustar header block: numbers are octal text. */
struct header {
    char name[100];
    char mode[8];
    char uid[8];
    char gid[8];
    char size[12];
    char mtime[12];
    char checksum[8];
    char type;
    char linkname[100];
    char magic[6];
    char version[2];
    char uname[32];
    char gname[32];
    char devmajor[8];
    char devminor[8];
    char prefix[155];
    char unused[12];
};
_Static_assert(sizeof(struct header) == BLOCK, "a tar header is one block");

/* The sum of all bytes, those of the checksum itself counted as blanks. */
static unsigned checksum_of(const struct header *header)
{
    const unsigned char *bytes = (const unsigned char *)header;
    unsigned sum = 0;

    for (size_t i = 0; i < BLOCK; i++) {
        bool own = i >= offsetof(struct header, checksum) && i < offsetof(struct header, type);
        sum += own ? ' ' : bytes[i];
    }
    return sum;
}

/* Octal digits that fill the field but for its NUL. */
static void put_octal(char *field, size_t bytes, uint64_t value)
{
    field[bytes - 1] = '\0';
    for (size_t i = bytes - 1; i-- > 0; value >>= 3)
        field[i] = (char)('0' + (value & 7));
    assert(value == 0);
}

static int add(struct pd_buf *tar, const char *name, char type, unsigned mode, const void *data,
               size_t len, struct pd_err *err)
{
    static const char zeros[BLOCK];
    struct header header = {.type = type, .magic = "ustar", .version = {'0', '0'}};
    size_t name_len = strlen(name), padding = (BLOCK - len % BLOCK) % BLOCK;

    if (name_len == 0 || name_len >= sizeof header.name)
        return pd_err_set(err, PD_INVALID, "'%s' does not fit a tar header", name);
    memcpy(header.name, name, name_len);
    put_octal(header.mode, sizeof header.mode, mode);
    put_octal(header.uid, sizeof header.uid, 0);
    put_octal(header.gid, sizeof header.gid, 0);
    put_octal(header.size, sizeof header.size, len);
    put_octal(header.mtime, sizeof header.mtime, 0);
    put_octal(header.checksum, sizeof header.checksum - 1, checksum_of(&header));
    header.checksum[7] = ' ';
    if (pd_buf_add(tar, &header, sizeof header, err) < 0 || pd_buf_add(tar, data, len, err) < 0 ||
        pd_buf_add(tar, zeros, padding, err) < 0)
        return PD_LIMIT;
    return 0;
}

int pd_tar_add(struct pd_buf *tar, const char *name, unsigned mode, const void *data, size_t len,
               struct pd_err *err)
{
    return add(tar, name, '0', mode, data, len, err);
}

int pd_tar_add_folder(struct pd_buf *tar, const char *name, unsigned mode, struct pd_err *err)
{
    return add(tar, name, '5', mode, NULL, 0, err);
}

int pd_tar_finish(struct pd_buf *tar, struct pd_err *err)
{
    static const char zeros[2 * BLOCK];
    return pd_buf_add(tar, zeros, sizeof zeros, err);
}

/* ---- reading ---- */

/* Octal text, with blanks before it and a blank or NUL after it. */
static bool get_octal(const char *field, size_t bytes, uint64_t *ret_value)
{
    uint64_t value = 0;
    size_t i = 0, digits = 0;

    while (i < bytes && field[i] == ' ')
        i++;
    for (; i < bytes && field[i] >= '0' && field[i] <= '7'; i++, digits++)
        value = value << 3 | (uint64_t)(field[i] - '0');
    if (digits == 0 || (i < bytes && field[i] != ' ' && field[i] != '\0'))
        return false;
    *ret_value = value; /* 12 digits at most: 36 bits */
    return true;
}

static int read_header(const struct header *header, size_t room, struct pd_tar_entry *entry,
                       struct pd_err *err)
{
    uint64_t size, mode, checksum;

    if (memcmp(header->magic, "ustar", 5) != 0 ||
        !get_octal(header->checksum, sizeof header->checksum, &checksum) ||
        checksum != checksum_of(header) || !get_octal(header->mode, sizeof header->mode, &mode) ||
        !get_octal(header->size, sizeof header->size, &size))
        return pd_err_set(err, PD_INVALID, "a malformed tar header");
    if (size > room || (BLOCK - size % BLOCK) % BLOCK > room - size)
        return pd_err_set(err, PD_INVALID, "the tar archive is cut short");
    memcpy(entry->name, header->name, sizeof header->name);
    entry->name[sizeof header->name] = '\0';
    entry->mode = (unsigned)mode & 07777;
    entry->type = header->type ? header->type : '0';
    entry->len = (size_t)size;
    return 0;
}

int pd_tar_next(const char *tar, size_t len, size_t *offset, struct pd_tar_entry *ret_entry,
                struct pd_err *err)
{
    static const char zeros[BLOCK];

    while (*offset < len && len - *offset >= BLOCK) {
        const char *block = tar + *offset;
        size_t room = len - *offset - BLOCK;
        struct header header;
        if (memcmp(block, zeros, BLOCK) == 0)
            return 0;
        memcpy(&header, block, BLOCK);
        if (read_header(&header, room, ret_entry, err) < 0)
            return PD_INVALID;
        *offset += BLOCK + (ret_entry->len + BLOCK - 1) / BLOCK * BLOCK;
        if (ret_entry->type == 'x' || ret_entry->type == 'g')
            continue;
        ret_entry->data = block + BLOCK;
        return 1;
    }
    return *offset < len ? pd_err_set(err, PD_INVALID, "the tar archive is cut short") : 0;
}
