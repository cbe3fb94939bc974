# The AppArmor profile of sandboxes, where this host has AppArmor: Docker's own
# denies the mounts that a cell is made of.
# shellcheck shell=bash

APPARMOR_PROFILE=paddock-sandbox

# The profile for this machine's parser: older ones do not know `userns`.
apparmor_text() {
    local source=$ROOT/conf/apparmor-$APPARMOR_PROFILE
    if echo 'profile paddock-probe { userns, }' | as_root apparmor_parser -QK >/dev/null 2>&1; then
        sed 's/^ *include if exists <abstractions\/paddock-userns>/  userns,/' "$source"
    else
        cat "$source"
    fi
}

load_apparmor_profile() {
    [ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" = Y ] || return 0
    as_root grep -qs "^$APPARMOR_PROFILE " /sys/kernel/security/apparmor/profiles && return 0
    have apparmor_parser || need_packages apparmor
    say "loading the AppArmor profile $APPARMOR_PROFILE"
    apparmor_text | as_root apparmor_parser -r -W || die "the AppArmor profile could not be loaded" \
        "load it by hand: apparmor_parser -r $ROOT/conf/apparmor-$APPARMOR_PROFILE"
}
