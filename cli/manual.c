#include "cli/manual.h"

#include <ctype.h>
#include <curl/curl.h>
#include <getopt.h>
#include <hiredis/hiredis.h>
#include <jansson.h>
#include <openssl/crypto.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include <yaml.h>

#include "common/mem.h"

/* What a command says to --help. It prints to `stdout`, which glibc lets us change for
 * as long as that takes. The caller frees. */
static char *help_of(const struct pd_command *command)
{
    char flag[] = "--help";
    char *argv[] = {(char *)(uintptr_t)command->name, flag, NULL};
    FILE *saved = stdout;
    char *text = NULL;
    size_t len = 0;
    FILE *memory = open_memstream(&text, &len);

    if (!memory)
        abort();
    optind = 0; /* getopt begins anew */
    stdout = memory;
    command->run(2, argv);
    stdout = saved;
    fclose(memory);
    return text;
}

/* ---- the page ---- */

/* Text as it stands, between .nf and .fi. */
static void put_roff(FILE *out, const char *text)
{
    bool line_begins = true;

    for (; *text; text++) {
        if (line_begins && (*text == '.' || *text == '\''))
            fputs("\\&", out);
        if (*text == '\\')
            fputs("\\e", out);
        else if (*text == '-')
            fputs("\\-", out);
        else
            fputc(*text, out);
        line_begins = *text == '\n';
    }
}

void pd_manual_page(FILE *out, const struct pd_command *commands, size_t count)
{
    fputs(".TH PADDOCK 1 \"\" \"paddock " PD_VERSION
          "\"\n"
          ".SH NAME\npaddock \\- runs code that you do not trust, in warm sandboxes\n"
          ".SH SYNOPSIS\n.B paddock\n.I COMMAND\n[\\fIARGUMENTS\\fR]\n.SH COMMANDS\n",
          out);
    for (size_t i = 0; i < count; i++)
        fprintf(out, ".TP\n.B %s\n%s\n", commands[i].name, commands[i].summary);
    for (size_t i = 0; i < count; i++) {
        pd_autofree char *help = help_of(&commands[i]);
        fprintf(out, ".SH \"PADDOCK %s\"\n.nf\n", commands[i].name);
        put_roff(out, help);
        fputs(".fi\n", out);
    }
    fputs(
        ".SH FILES\n"
        ".TP\n.I /etc/paddock/default.yaml\nthe default pool\n"
        ".TP\n.I /etc/paddock/pools.d/*.yaml\nfurther pools\n"
        ".TP\n.I /etc/paddock/languages.yaml\nwhat can be run, and how\n"
        ".TP\n.I /var/lib/paddock\nkeys, records, and whose sandboxes are whose\n"
        ".SH SEE ALSO\n.BR docker (1),\n.BR kubectl (1)\n",
        out);
}

/* ---- completion ---- */

/* Every --flag of a text once, separated by spaces. */
static void put_flags(FILE *out, const char *text)
{
    char seen[2048] = " ";

    for (const char *at = text; (at = strstr(at, "--")); at += 2) {
        char word[64];
        size_t len = 2;
        while (islower((unsigned char)at[len]) || (len > 2 && at[len] == '-'))
            len++;
        if (len == 2 || len > sizeof word - 3 || (at > text && at[-1] == '-'))
            continue;
        snprintf(word, sizeof word, " %.*s ", (int)len, at);
        if (strstr(seen, word) || strlen(seen) + len + 2 > sizeof seen)
            continue;
        strncat(seen, word + 1, sizeof seen - strlen(seen) - 1);
    }
    seen[strlen(seen) - 1] = '\0';
    fputs(seen[0] ? seen + 1 : "", out);
}

void pd_manual_completion(FILE *out, const struct pd_command *commands, size_t count)
{
    fputs(
        "# bash completion for paddock; made by: paddock completion\n"
        "_paddock()\n{\n"
        "    local word=${COMP_WORDS[COMP_CWORD]} flags=\n"
        "    COMPREPLY=()\n"
        "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
        "        COMPREPLY=($(compgen -W \"",
        out);
    for (size_t i = 0; i < count; i++)
        fprintf(out, "%s ", commands[i].name);
    fputs(
        "completion man help --version --help\" -- \"$word\"))\n        return\n    fi\n"
        "    case ${COMP_WORDS[1]} in\n",
        out);
    for (size_t i = 0; i < count; i++) {
        pd_autofree char *help = help_of(&commands[i]);
        fprintf(out, "        %s) flags=\"", commands[i].name);
        put_flags(out, help);
        fputs("\" ;;\n", out);
    }
    fputs(
        "    esac\n"
        "    case $word in\n"
        "        -*) COMPREPLY=($(compgen -W \"$flags --help\" -- \"$word\")) ;;\n"
        "        *) COMPREPLY=($(compgen -f -- \"$word\")) ;;\n"
        "    esac\n}\ncomplete -o filenames -F _paddock paddock\n",
        out);
}

/* ---- the version ---- */

void pd_manual_version(FILE *out)
{
    int major, minor, patch;

    yaml_get_version(&major, &minor, &patch);
    fputs("paddock " PD_VERSION "\n", out);
    fprintf(out, "libuv %s\n", uv_version_string());
    fprintf(out, "libcurl %s\n", curl_version_info(CURLVERSION_NOW)->version);
    fprintf(out, "OpenSSL %s\n", OpenSSL_version(OPENSSL_VERSION_STRING));
    fprintf(out, "SQLite %s\n", sqlite3_libversion());
    fprintf(out, "hiredis %d.%d.%d\n", HIREDIS_MAJOR, HIREDIS_MINOR, HIREDIS_PATCH);
    fprintf(out, "jansson %s\n", JANSSON_VERSION);
    fprintf(out, "libyaml %d.%d.%d\n", major, minor, patch);
}
