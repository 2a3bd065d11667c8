"""TLS failures as error messages that name the setting to change.

OpenSSL's codes: https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/ (verification),
https://www.rfc-editor.org/rfc/rfc8446#section-6.2 (alerts).
"""

from __future__ import annotations

import ssl

_UNKNOWN_ISSUER = (2, 18, 19, 20, 21)
_NOT_YET, _EXPIRED = 9, 10
_OTHER_NAME = (62, 64)
_PLAIN = "the broker does not speak TLS on this port: write mqtt:// or use the broker's TLS port"
_OLD = "the broker supports no TLS version that is new enough: see mqtt.tls_version_min"
# By a part of OpenSSL's reason.
_REASONS = {
    "WRONG_VERSION_NUMBER": _PLAIN,
    "RECORD_LAYER_FAILURE": _PLAIN,
    "UNSUPPORTED_PROTOCOL": _OLD,
    "PROTOCOL_VERSION": _OLD,
    "CERTIFICATE_REQUIRED": "the broker requires a client certificate: set mqtt.cert_file and mqtt.key_file",
    "HANDSHAKE_FAILURE": "the broker aborted the TLS handshake: it may require a client certificate "
    "(mqtt.cert_file)",
    "UNKNOWN_CA": "the broker does not know the CA of the client certificate (mqtt.cert_file)",
    "BAD_CERTIFICATE": "the broker refused the client certificate (mqtt.cert_file)",
    "CERTIFICATE_EXPIRED": "the client certificate has expired (mqtt.cert_file)",
    "CERTIFICATE_REVOKED": "the client certificate was revoked (mqtt.cert_file)",
    "CERTIFICATE_UNKNOWN": "the broker refused the client certificate (mqtt.cert_file)",
}


def explained(error: BaseException | None) -> str | None:
    """A message for the operator; None if the error is not one of TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _verification_failed(error)
    if not isinstance(error, ssl.SSLError):
        return None
    reason = error.reason or ""
    found = next((text for part, text in _REASONS.items() if part in reason), None)
    return found or f"TLS failed: {(reason or str(error)).replace('_', ' ').lower()}"


def _verification_failed(error: ssl.SSLCertVerificationError) -> str:
    code = error.verify_code
    if code in _UNKNOWN_ISSUER:
        return (
            "the broker's certificate is not signed by a trusted CA: "
            "set mqtt.ca_file to the certificate of its CA"
        )
    if code == _EXPIRED:
        return "the broker's certificate has expired: renew it"
    if code == _NOT_YET:
        return "the broker's certificate is not valid yet: check the clocks of both machines"
    if code in _OTHER_NAME:
        return f"the broker's certificate is for another name: {error.verify_message}; see mqtt.server_name"
    return f"the broker's certificate failed verification: {error.verify_message}"
