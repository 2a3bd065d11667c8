"""What went wrong with TLS, in words that say whose turn it is.

OpenSSL's codes: https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/ (verification),
https://www.rfc-editor.org/rfc/rfc8446#section-6.2 (alerts).
"""

from __future__ import annotations

import ssl

_UNKNOWN_ISSUER = (2, 18, 19, 20, 21)
_NOT_YET, _EXPIRED = 9, 10
_OTHER_NAME = (62, 64)
_PLAIN = "no TLS is spoken on this port: write mqtt:// or use the broker's TLS port"
_OLD = "the broker offers no version of TLS that is new enough: see mqtt.tls_version_min"
# By a part of OpenSSL's name for it.
_REASONS = {
    "WRONG_VERSION_NUMBER": _PLAIN,
    "RECORD_LAYER_FAILURE": _PLAIN,
    "UNSUPPORTED_PROTOCOL": _OLD,
    "PROTOCOL_VERSION": _OLD,
    "CERTIFICATE_REQUIRED": "the broker wants a certificate of ours: set mqtt.cert_file and mqtt.key_file",
    "HANDSHAKE_FAILURE": "the broker broke off: it may want a certificate of ours (mqtt.cert_file)",
    "UNKNOWN_CA": "the broker does not know who signed our certificate (mqtt.cert_file)",
    "BAD_CERTIFICATE": "the broker does not accept our certificate (mqtt.cert_file)",
    "CERTIFICATE_EXPIRED": "our certificate has expired (mqtt.cert_file)",
    "CERTIFICATE_REVOKED": "our certificate was revoked (mqtt.cert_file)",
    "CERTIFICATE_UNKNOWN": "the broker does not accept our certificate (mqtt.cert_file)",
}


def explained(error: BaseException | None) -> str | None:
    """What an operator should know of a TLS failure; None if it is none."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _unverified(error)
    if not isinstance(error, ssl.SSLError):
        return None
    reason = error.reason or ""
    found = next((words for part, words in _REASONS.items() if part in reason), None)
    return found or f"TLS failed: {(reason or str(error)).replace('_', ' ').lower()}"


def _unverified(error: ssl.SSLCertVerificationError) -> str:
    """Why the broker's certificate is not believed."""
    code = error.verify_code
    if code in _UNKNOWN_ISSUER:
        return (
            "the broker's certificate is signed by nobody we trust: set mqtt.ca_file to its CA's certificate"
        )
    if code == _EXPIRED:
        return "the broker's certificate has expired: it needs a new one"
    if code == _NOT_YET:
        return "the broker's certificate is not valid yet: is the clock right, here and there?"
    if code in _OTHER_NAME:
        return f"the broker's certificate is for another name: {error.verify_message}; see mqtt.server_name"
    return f"the broker's certificate is not believed: {error.verify_message}"
