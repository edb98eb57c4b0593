"""Coverage-guided fuzzing with atheris: `make fuzz`. What it found stands in tests/security/test_fuzz.py."""
