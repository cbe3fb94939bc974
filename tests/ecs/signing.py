"""Checks AWS Signature Version 4, written from the specification and sharing nothing
with the service."""

import datetime
import hashlib
import hmac
import re

AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, ?"
    r"SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$")
SKEW = datetime.timedelta(minutes=5)


class Refused(Exception):
    """args: an error code of AWS's, a sentence."""


def _key(secret, *steps):
    key = ("AWS4" + secret).encode()
    for step in steps:
        key = hmac.new(key, step.encode(), hashlib.sha256).digest()
    return key


def check(keys, method, headers, body, now, service):
    """The id of the key that signed it; Refused otherwise. keys: id -> {secret, token,
    expires}."""
    found = AUTHORIZATION.match(headers.get("Authorization", ""))
    if not found:
        raise Refused("MissingAuthenticationTokenException", "not signed")
    key_id, day, region, signed_for, names, signature = found.groups()
    key = keys.get(key_id)
    if not key:
        raise Refused("UnrecognizedClientException", "the security token is invalid")
    date = headers.get("X-Amz-Date", "")
    try:
        when = datetime.datetime.strptime(date, "%Y%m%dT%H%M%SZ")
    except ValueError:
        raise Refused("IncompleteSignatureException", "no date") from None
    if abs(when - now) > SKEW:
        raise Refused("InvalidSignatureException", "Signature expired: %s" % date)
    if signed_for != service or not date.startswith(day):
        raise Refused("InvalidSignatureException", "wrong scope")
    for name in ("host", "x-amz-date") + (("x-amz-security-token",) if key.get("token") else ()):
        if name not in names.split(";"):
            raise Refused("InvalidSignatureException", "%s is not signed" % name)
    canonical = "\n".join(
        [method, "/", ""] +
        ["%s:%s" % (name, " ".join(headers.get(name, "").split())) for name in names.split(";")] +
        ["", names, hashlib.sha256(body).hexdigest()])
    scope = "/".join((day, region, service, "aws4_request"))
    text = "\n".join(("AWS4-HMAC-SHA256", date, scope,
                      hashlib.sha256(canonical.encode()).hexdigest()))
    wanted = hmac.new(_key(key["secret"], day, region, service, "aws4_request"), text.encode(),
                      hashlib.sha256).hexdigest()
    if not hmac.compare_digest(wanted, signature):
        raise Refused("InvalidSignatureException", "the signature does not match")
    if key.get("token") and headers.get("X-Amz-Security-Token") != key["token"]:
        raise Refused("UnrecognizedClientException", "wrong session token")
    if key.get("expires") and now >= key["expires"]:
        raise Refused("ExpiredTokenException", "the security token has expired")
    return key_id
