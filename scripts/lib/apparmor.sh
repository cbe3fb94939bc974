# The AppArmor profile of sandboxes, where this host has AppArmor: Docker's own
# denies the mounts that a cell is made of.
# shellcheck shell=bash

APPARMOR_PROFILE=paddock-sandbox

load_apparmor_profile() {
    local source=$ROOT/conf/apparmor-$APPARMOR_PROFILE
    [ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" = Y ] || return 0
    [ -f "$source" ] || return 0
    as_root grep -q "^$APPARMOR_PROFILE " /sys/kernel/security/apparmor/profiles 2>/dev/null && return 0
    have apparmor_parser || need_packages apparmor
    say "loading the AppArmor profile $APPARMOR_PROFILE"
    as_root apparmor_parser -r -W "$source" || die "the AppArmor profile could not be loaded" \
        "load it by hand: apparmor_parser -r $source"
}
