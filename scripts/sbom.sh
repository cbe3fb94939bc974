#!/usr/bin/env bash
# What paddock is made of, as CycloneDX 1.5 in JSON: the Debian packages that the
# program is linked with, and what api/web/package-lock.json locks. From facts alone
# (ldd, dpkg, the lock file).
#
#   ./scripts/sbom.sh [PROGRAM] > paddock.cdx.json
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
exec python3 "$ROOT/scripts/lib/sbom.py" "${1:-$ROOT/build/release/paddock}" "$ROOT/api/web/package-lock.json"
