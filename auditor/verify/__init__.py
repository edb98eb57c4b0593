"""`--verify`: asks the providers whether the secrets that were found still work. docs/verify.md says what is sent."""

from auditor.verify.verifier import Verifier, verified

__all__ = ["Verifier", "verified"]
