"""Signed statements of audits: in-toto Statements in DSSE envelopes, written, attached in a registry, and verified."""
