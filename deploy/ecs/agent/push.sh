#!/usr/bin/env bash
# Build the agent's image and push it: deploy/ecs/agent/push.sh REPOSITORY[:TAG] [BUILD_DIR]
#
# REPOSITORY is an ECR repository's URI (it is made where it is missing and the aws
# command is there), or any other registry's. With a REPOSITORY that names no registry
# the image is only built.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
say() { printf '%s\n' "$*" >&2; }

[ $# -ge 1 ] || { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2; }
build=${2:-$root/build/release}
agent=$build/paddock-agent-ecs
[ -x "$agent" ] || { say "no agent at $agent: run ./scripts/run_code_execution_server.sh once, or cmake --preset release && cmake --build --preset release"; exit 1; }

repository=${1%:*} tag=${1##*:}
[ "$repository" != "$1" ] && [[ $tag != */* ]] || { repository=$1; tag=$(sha256sum "$agent" | cut -c 1-12); }
image=$repository:$tag

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
cp "$here/Dockerfile" "$context/"
cp "$agent" "$context/agent"
mkdir "$context/spares"
cp "$root"/agent/spares/* "$build/pdspare.so" "$build/pdwait.so" "$context/spares/"
docker build -q -t "$image" "$context" >&2

registry=${repository%%/*}
if [[ $registry == *.dkr.ecr.*.amazonaws.com* ]]; then
    region=${registry#*.dkr.ecr.} region=${region%%.*}
    aws ecr get-login-password --region "$region" | docker login --username AWS --password-stdin "$registry" >&2
    aws ecr describe-repositories --region "$region" --repository-names "${repository#*/}" >/dev/null 2>&1 ||
        aws ecr create-repository --region "$region" --repository-name "${repository#*/}" >/dev/null
    docker push -q "$image" >&2
elif [[ $registry == *.* || $registry == *:* ]]; then
    docker push -q "$image" >&2
else
    say "built, not pushed: $repository names no registry"
fi
printf '%s\n' "$image"
