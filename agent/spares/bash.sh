# Keeps Bash waiting for its program. It is BASH_ENV, read before bash opens its
# script, which it does when this is done. Nothing that it names may be left.
unset BASH_ENV PADDOCK_SPARE
printf R >&4
exec 4>&-
mapfile -t -d '' -u 3 PADDOCK_GO
exec 3<&-
set -- "${PADDOCK_GO[@]:1:PADDOCK_GO[0]}"
PADDOCK_GO=("${PADDOCK_GO[@]:PADDOCK_GO[0] + 1}")
[ ${#PADDOCK_GO[@]} -eq 0 ] || export -- "${PADDOCK_GO[@]}"
unset PADDOCK_GO
SECONDS=0
: bash
