"""Content credentials (C2PA): a signed note inside a picture's file that says how it was made.

    signer = Signer(data_dir / "credentials")   # a certificate of this installation's own
    png = signer.sign(png)                      # the last thing done to a file's bytes
    read_credentials(png)                       # who signed it, and whether the bytes were changed

Needs the package c2pa-python (the extra `c2pa`); without it nothing is signed, and `available()`
is False. Nobody vouches for the certificate: it proves that the bytes are those that this
installation wrote, not who runs it. C2PA specification 2.1: https://c2pa.org/specifications
"""

import datetime
import importlib.util
import io
import json
import logging
import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sdgen.data_folder import make_data_folder
from sdgen.errors import StorageFailed
from sdgen.pictures import remove_stumps_in, write_whole
from sdgen.version import VERSION

log = logging.getLogger(__name__)

MADE_BY_MODEL = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
CERTIFICATE_YEARS = 5
_CHAIN, _KEY = "certificate.pem", "key.pem"
_PNG = "image/png"
_QUIET = {  # a thumbnail would add 413 kB and 95 ms; trust lists are not for a certificate of ours
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {"verify_trust": False, "remote_manifest_fetch": False, "ocsp_fetch": False},
}
State = Literal["intact", "changed", "none", "unknown"]


@dataclass(frozen=True)
class Credentials:
    """What the content credentials of a file say. `state` "unknown": c2pa-python is missing."""

    state: State
    sentence: str
    made_by: str = ""  # the program, as the file says
    signed_by: str = ""  # the certificate's name
    by_model: bool = False  # marked as made by a trained model


def available() -> bool:
    """True where pictures can be signed."""
    return importlib.util.find_spec("c2pa") is not None


class Signer:
    """Signs pictures with this installation's certificate, made at the first use. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        """folder: where certificate and key lie; the key is readable by the user alone."""
        self._folder = folder
        self._lock = threading.Lock()
        self._identity: tuple[str, str] | None = None  # certificate chain and key, PEM

    def sign(self, png: bytes) -> bytes:
        """The file with content credentials; all its other chunks stay.

        Raises StorageFailed: the certificate cannot be kept, or c2pa refuses the file.
        """
        import c2pa

        chain, key = self._certificate()
        info = c2pa.C2paSignerInfo(
            alg=b"es256", sign_cert=chain.encode(), private_key=key.encode(), ta_url=None
        )
        manifest = {
            "claim_generator_info": [{"name": "sdgen", "version": VERSION}],
            "title": "picture",
            "assertions": [
                {
                    "label": "c2pa.actions",
                    "data": {
                        "actions": [{"action": "c2pa.created", "digitalSourceType": MADE_BY_MODEL}]
                    },
                }
            ],
        }
        signed = io.BytesIO()
        try:
            with (
                c2pa.Context(c2pa.Settings.from_dict(_QUIET)) as context,
                c2pa.Signer.from_info(info) as signer,
                c2pa.Builder(manifest, context) as builder,
            ):
                builder.sign(signer, _PNG, io.BytesIO(png), signed)
        except c2pa.C2paError as error:
            raise StorageFailed("Content credentials could not be added.") from error
        return signed.getvalue()

    def _certificate(self) -> tuple[str, str]:
        with self._lock:
            if self._identity is None:
                chain, key = self._folder / _CHAIN, self._folder / _KEY
                try:
                    if not (chain.is_file() and key.is_file()):
                        self._make(chain, key)
                    self._identity = chain.read_text("ascii"), key.read_text("ascii")
                except OSError as error:
                    raise StorageFailed(
                        "The certificate for content credentials cannot be kept in the data "
                        f"folder: {error.strerror}."
                    ) from error
            return self._identity

    def _make(self, chain: Path, key: Path) -> None:
        make_data_folder(self._folder.parent)
        self._folder.mkdir(exist_ok=True, mode=0o700)
        chain_text, key_text = new_identity()
        remove_stumps_in(self._folder)
        with suppress(FileNotFoundError):
            key.unlink()
        handle = os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(key_text)
            file.flush()
            os.fsync(file.fileno())
        write_whole(chain, chain_text.encode("ascii"))  # last: without it both are made anew


def new_identity() -> tuple[str, str]:
    """A certificate chain (leaf, then its own authority) and the leaf's private key, both PEM.

    ECDSA on P-256; the leaf may sign documents (emailProtection), which is what C2PA asks for.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def name(text: str) -> x509.Name:
        return x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "sdgen"),
                x509.NameAttribute(NameOID.COMMON_NAME, text),
            ]
        )

    authority_key, leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    end = start + datetime.timedelta(days=365 * CERTIFICATE_YEARS)
    authority_name = name("sdgen installation authority")
    usages = {
        "content_commitment": False, "key_encipherment": False, "data_encipherment": False,
        "key_agreement": False, "crl_sign": False, "encipher_only": False, "decipher_only": False,
    }  # fmt: skip

    def certificate(subject: x509.Name, public: Any, *, is_authority: bool) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(authority_name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
            .add_extension(
                x509.KeyUsage(
                    **usages, digital_signature=not is_authority, key_cert_sign=is_authority
                ),
                critical=True,
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
                critical=False,
            )
        )
        if not is_authority:
            protection = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
            builder = builder.add_extension(protection, critical=False)
        return builder.sign(authority_key, hashes.SHA256())

    leaf = certificate(name("sdgen installation"), leaf_key.public_key(), is_authority=False)
    authority = certificate(authority_name, authority_key.public_key(), is_authority=True)
    chain = b"".join(c.public_bytes(serialization.Encoding.PEM) for c in (leaf, authority))
    key = leaf_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return chain.decode("ascii"), key.decode("ascii")


def read_credentials(png: bytes) -> Credentials:
    """What the content credentials inside a file say, and whether its bytes were changed since."""
    if not available():
        return Credentials(
            "unknown", "Content credentials are not read: c2pa-python is not installed."
        )
    import c2pa

    try:
        with (
            c2pa.Context(c2pa.Settings.from_dict(_QUIET)) as context,
            c2pa.Reader(_PNG, io.BytesIO(png), context=context) as reader,
        ):
            state = reader.get_validation_state() or ""
            told = json.loads(reader.json())
    except c2pa.C2paError as error:
        if "ManifestNotFound" in str(error) or "no JUMBF" in str(error):
            return Credentials("none", "It carries no content credentials.")
        log.info("content credentials cannot be read", exc_info=error)
        return Credentials("changed", "Its content credentials are damaged, or it was changed.")
    manifest = told.get("manifests", {}).get(told.get("active_manifest", ""), {})
    generator = (manifest.get("claim_generator_info") or [{}])[0]
    made_by = f"{generator.get('name', '')} {generator.get('version', '')}".strip()
    signed_by = str(manifest.get("signature_info", {}).get("common_name", ""))
    by_model = MADE_BY_MODEL in json.dumps(manifest)
    if state in ("Valid", "Trusted"):
        sentence = f"Picture and texts are as {made_by or 'a program'} signed them"
        sentence += ", as made by a trained model." if by_model else "."
        return Credentials("intact", sentence, made_by, signed_by, by_model)
    return Credentials(
        "changed", "It was changed after it was signed.", made_by, signed_by, by_model
    )
