"""Tests of auditor/published."""
