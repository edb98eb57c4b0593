"""The git pre-push hook: `install.py` puts it in place, `run.py` is what it does, `message.py` what it says."""
